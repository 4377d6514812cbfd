"""`wpclone job …`: parse, then hand over to `jobs`, which is imported only then (it brings grpc)."""
# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from wpclone.cli.options import AfterRevision, Format, JobId, Limit, Output, Progress, Server, Show, Token, Watch, span

app = typer.Typer(no_args_is_help=True, help="See, follow, cancel and retry jobs.")


@app.command()
def get(job_id: JobId, server: Server = None, token: Token = None, output: Output = Format.TABLE) -> None:
    """Show a job with its steps; a completed clone job also with the clone's password."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.get(Terms(server, token, output), job_id)


@app.command("list")
def list_all(
    status: Annotated[str, typer.Option(help="Only pending, running, completed, failed or cancelled ones.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Only clone, restore or delete jobs.")] = "",
    limit: Limit = 50,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
) -> None:
    """List jobs, newest first."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.list_all(Terms(server, token, output), status=status, kind=kind, limit=limit)


@app.command()
def watch(
    job_id: JobId,
    after_revision: AfterRevision = 0,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Follow a job to its end, through restarts of the server. Ctrl-C lets go; the job goes on."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.watch(Terms(server, token, output, progress), job_id, after_revision=after_revision)


@app.command()
def wait(
    job_id: JobId,
    timeout: Annotated[str | None, typer.Option(help="How long at most: 90s, 10m, 1h (a bare number is minutes).")] = None,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.NONE,
) -> None:
    """Wait for a job's end without showing progress."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.wait(Terms(server, token, output, progress), job_id, within=span(timeout) if timeout else None)


@app.command()
def cancel(
    job_id: JobId,
    follow: Watch = False,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Ask to cancel a job; one that runs is undone first."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.cancel(Terms(server, token, output, progress), job_id, follow=follow)


@app.command()
def retry(
    job_id: JobId,
    follow: Watch = True,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Ask for a failed or cancelled job again. Ctrl-C lets go; the new job goes on."""
    from wpclone.cli import jobs
    from wpclone.cli.session import Terms

    jobs.retry(Terms(server, token, output, progress), job_id, follow=follow)
