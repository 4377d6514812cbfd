"""`wpclone clone …`: parse, then hand over to `clones`, which is imported only then (it brings grpc)."""
# ruff: noqa: PLC0415

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from wpclone.cli.complaint import ending
from wpclone.cli.options import CloneId, Format, Limit, Output, Progress, Server, Show, Token, Watch, span
from wpclone.cli.secret import secret_of_source

app = typer.Typer(no_args_is_help=True, help="Make, see, open, extend and delete clones.")

Source = Annotated[str | None, typer.Option(help="The site's URL; with --agent-key the agent's own.")]
Username = Annotated[str | None, typer.Option(help="An administrator of the site.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin. Else WPCLONE_SOURCE_PASSWORD, else a prompt.")
]
AgentKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file with the key that `wpclone agent zip` printed (- is stdin), instead of a sign-in."),
]
Ttl = Annotated[str | None, typer.Option(help="How long the clone lives once it is ready: 90m, 2h (a bare number is minutes).")]
Keep = Annotated[
    list[str] | None, typer.Option("--keep-constant", metavar="NAME", help="Pass on a wp-config constant that would be withheld.")
]
ExcludePath = Annotated[
    list[str] | None,
    typer.Option("--exclude-path", metavar="GLOB", help="Leave out files and directories: wp-content/uploads/2019, '*.zip'."),
]
ExcludeTable = Annotated[
    list[str] | None, typer.Option("--exclude-table", metavar="GLOB", help="Leave out tables of plugins: 'wp_statistics_*'.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only look: sizes, what would be left out, whether there is room.")]
Count = Annotated[int, typer.Option(min=1, max=1000, help="Ask for this many clones of the source at once.")]
FromFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Ask for all clones of a file at once: on each line the JSON body of POST /api/v2/clone."),
]
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,58}")
Priority = Annotated[str, typer.Option(help="low, normal or high: the queue the job waits in. High is for administrators.")]
RequestId = Annotated[str | None, typer.Option(help="Repeat the command with the same id, and the work is done once.")]


@app.command()
def create(  # noqa: PLR0913, PLR0917 -- each option is an argument
    source: Source = None,
    username: Username = None,
    password_stdin: PasswordStdin = False,
    agent_key: AgentKey = None,
    ttl: Ttl = None,
    keep_constants: Keep = None,
    exclude_paths: ExcludePath = None,
    exclude_tables: ExcludeTable = None,
    dry_run: DryRun = False,
    follow: Watch = True,
    count: Count = 1,
    from_file: FromFile = None,
    request_id: RequestId = None,
    priority: Priority = "",
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Clone a WordPress site. Ctrl-C lets go; the job goes on."""
    if (source is None) == (from_file is None):
        raise typer.BadParameter("give either --source or --from-file")
    content = (keep_constants or (), exclude_paths or (), exclude_tables or (), dry_run)
    if from_file is not None and (count != 1 or username or agent_key or password_stdin or any(content)):
        raise typer.BadParameter("--from-file has all in its lines; give only --ttl, --priority and --request-id beside it")
    if request_id is not None and not REQUEST_ID.fullmatch(request_id):
        raise typer.BadParameter("--request-id has 1 to 58 of A-Z a-z 0-9 . _ : -")
    life = span(ttl) if ttl is not None else None

    from wpclone.cli import clones, orders, several
    from wpclone.cli.session import Terms
    from wpclone.cli.sites import site

    terms = Terms(server, token, output, progress)
    with ending():
        if from_file is not None:
            requests = orders.orders_of_file(from_file)
        else:
            secret = secret_of_source(username, password_stdin=password_stdin, agent_key=agent_key)
            named = site(source or "", username or "", secret, is_agent=agent_key is not None)
            requests = orders.copies(orders.order(named, orders.Content(*content)), count)
        requests = orders.finished(requests, ttl=life, request_id=request_id, priority=priority)
    if from_file is None and count == 1:
        clones.create(terms, requests[0], follow=follow)
    else:
        several.create(terms, requests, follow=follow)


@app.command()
def get(clone_id: CloneId, server: Server = None, token: Token = None, output: Output = Format.TABLE) -> None:
    """Show a clone."""
    from wpclone.cli import clones
    from wpclone.cli.session import Terms

    clones.get(Terms(server, token, output), clone_id)


@app.command("list")
def list_all(
    status: Annotated[
        str, typer.Option(help="Only creating, ready, deleting, deleted or failed ones; else all but deleted.")
    ] = "",
    limit: Limit = 50,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
) -> None:
    """List clones, newest first."""
    from wpclone.cli import clones
    from wpclone.cli.session import Terms

    clones.list_all(Terms(server, token, output), status=status, limit=limit)


@app.command("open")
def open_link(clone_id: CloneId, server: Server = None, token: Token = None, output: Output = Format.TABLE) -> None:
    """Print a link that signs its first visitor in to the clone's wp-admin; it works once, within 5 minutes."""
    from wpclone.cli import clones
    from wpclone.cli.session import Terms

    clones.open_link(Terms(server, token, output), clone_id)


@app.command()
def left(clone_id: CloneId, server: Server = None, token: Token = None) -> None:
    """Print all that names the source and was left in a clone, one JSON object a line: table, key, column, reason, places."""
    from wpclone.cli import left_list
    from wpclone.cli.session import Terms

    left_list.left(Terms(server, token, Format.JSONL), clone_id)


@app.command()
def extend(
    clone_id: CloneId,
    ttl: Annotated[str | None, typer.Option(help="Let it live this long from now: 90m, 2h.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="Let it live until then (UTC).")] = None,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
) -> None:
    """Let a ready clone live longer."""
    if (ttl is None) == (until is None):
        raise typer.BadParameter("give either --ttl or --until")
    by = span(ttl) if ttl is not None else None
    from wpclone.cli import clones
    from wpclone.cli.session import Terms

    end = until.replace(tzinfo=UTC) if until is not None else None
    clones.extend(Terms(server, token, output), clone_id, until=end, by=by)


@app.command()
def delete(
    clone_id: CloneId,
    follow: Watch = True,
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Delete a clone; one that is still being made has its job cancelled."""
    from wpclone.cli import clones
    from wpclone.cli.session import Terms

    clones.delete(Terms(server, token, output, progress), clone_id, follow=follow)
