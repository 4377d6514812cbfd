"""`wpclone restore …`: parse, then hand over to `restores`, which is imported only then (it brings grpc)."""
# ruff: noqa: PLC0415

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wpclone.cli.complaint import ending
from wpclone.cli.options import Format, Output, Progress, Server, Show, Token, Watch
from wpclone.cli.secret import PASSWORD_VARIABLE, TARGET_PASSWORD_VARIABLE, secret_of_source

app = typer.Typer(no_args_is_help=True, help="Bring a clone's content to a site, and take it back.")

RestoreId = Annotated[str, typer.Argument(metavar="RESTORE_ID", help="The completed restore's job id.")]


class Conflicts(StrEnum):
    """What becomes of a row that both sides changed."""

    KEEP_TARGET = "keep_target"
    TAKE_CLONE = "take_clone"
    ABORT = "abort"


@app.command()
def create(  # noqa: PLR0913, PLR0917 -- each option is an argument
    target: Annotated[str, typer.Option(help="The site that is written to; with --agent-key the agent's own URL there.")],
    clone: Annotated[str, typer.Option(metavar="CLONE_ID", help="The clone whose content is brought.")] = "",
    username: Annotated[str | None, typer.Option(help="An administrator of the target.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the target's password from stdin. Else WPCLONE_TARGET_PASSWORD.")
    ] = False,
    agent_key: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the key of the target's agent.")] = None,
    source: Annotated[str, typer.Option(help="Another site whose content is brought, instead of a clone.")] = "",
    source_username: Annotated[
        str | None, typer.Option(help="An administrator of the source; the password is WPCLONE_SOURCE_PASSWORD.")
    ] = None,
    source_agent_key: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the key of its agent.")] = None,
    preserve_plugins: Annotated[
        bool, typer.Option("--preserve-plugins/--replace-plugins", help="Keep the target's plugins.")
    ] = True,
    preserve_themes: Annotated[
        bool, typer.Option("--preserve-themes/--replace-themes", help="Keep the target's themes.")
    ] = False,
    preserve: Annotated[
        list[str] | None, typer.Option("--preserve", metavar="NAME", help="Keep one plugin or theme of the target.")
    ] = None,
    tables: Annotated[list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table.")] = None,
    paths: Annotated[list[str] | None, typer.Option("--path", metavar="GLOB", help="Only these files.")] = None,
    conflicts: Annotated[
        Conflicts, typer.Option(help="Whose version of a row is taken that was changed on both sides.")
    ] = Conflicts.KEEP_TARGET,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
    follow: Watch = True,
    request_id: Annotated[str, typer.Option(help="Repeat the command with the same id, and the work is done once.")] = "",
    server: Server = None,
    token: Token = None,
    output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:
    """Bring content to a site: staged, exchanged as one, judged. Ctrl-C lets go; the job goes on."""
    if bool(clone) == bool(source):
        raise typer.BadParameter("give either --clone or --source")
    from wpclone.cli import restores
    from wpclone.cli.session import Terms
    from wpclone.cli.sites import site

    with ending():
        way_in = secret_of_source(username, password_stdin=password_stdin, agent_key=agent_key, variable=TARGET_PASSWORD_VARIABLE)
        request = restores.order(
            clone, site(target, username or "", way_in, is_agent=agent_key is not None),
            restores.Choices(
                preserve_plugins, preserve_themes, preserve or (), tables or (), paths or (), conflicts.value, dry_run
            ),
        )  # fmt: skip
        request.request_id = request_id
        if source:
            secret = secret_of_source(
                source_username, password_stdin=False, agent_key=source_agent_key, variable=PASSWORD_VARIABLE
            )
            is_agent = source_agent_key is not None
            request.source.CopyFrom(site(source, source_username or "", secret, is_agent=is_agent))
    restores.create(Terms(server, token, output, progress), request, follow=follow)


@app.command()
def rollback(
    restore_id: RestoreId, follow: Watch = True, server: Server = None, token: Token = None, output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:  # fmt: skip
    """Bring back what a restore replaced, as long as it is kept."""
    from wpclone.cli import restores
    from wpclone.cli.session import Terms

    restores.leave(Terms(server, token, output, progress), restore_id, is_rollback=True, follow=follow)


@app.command()
def release(
    restore_id: RestoreId, follow: Watch = True, server: Server = None, token: Token = None, output: Output = Format.TABLE,
    progress: Show = Progress.AUTO,
) -> None:  # fmt: skip
    """Drop what a restore replaced, before its time; there is no rollback afterwards."""
    from wpclone.cli import restores
    from wpclone.cli.session import Terms

    restores.leave(Terms(server, token, output, progress), restore_id, is_rollback=False, follow=follow)
