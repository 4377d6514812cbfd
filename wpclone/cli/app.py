"""The command line's tree. Importing it is cheap: each command imports its work when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from wpclone.cli import clone_commands, job_commands, local_commands, restore_commands, site_commands

app = typer.Typer(
    name="wpclone",
    no_args_is_help=True,
    # Tracebacks with local variables would show passwords.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Short-lived, harmless, byte-faithful copies of WordPress sites.",
    epilog="Data goes to stdout, progress and complaints to stderr. Exit codes: docs/cli.md.",
)
app.add_typer(clone_commands.app, name="clone")
app.add_typer(restore_commands.app, name="restore")
app.add_typer(job_commands.app, name="job")
app.add_typer(site_commands.agent, name="agent")
app.add_typer(site_commands.source, name="source")
app.command()(site_commands.rewrite)
app.command()(local_commands.up)
app.command()(local_commands.down)
app.command()(local_commands.status)
app.command()(local_commands.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"wpclone {version('wpclone')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Short-lived, harmless, byte-faithful copies of WordPress sites."""
