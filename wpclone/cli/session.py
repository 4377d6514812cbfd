"""One command's conversation with the service: connect, do the work, and end with the exit code its outcome has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import typer

from wpclone.cli.complaint import Trouble, complain, ending
from wpclone.cli.connection import Connection, find_connection
from wpclone.cli.exits import Exit, exit_of_reason
from wpclone.cli.options import Format, Progress
from wpclone.client import ClientError, CloneClient, connect


@dataclass(frozen=True)
class Terms:
    """The options that every command of the service has."""

    server: str | None
    token: str | None
    output: Format
    progress: Progress = Progress.AUTO


def run(terms: Terms, work: Callable[[CloneClient], Awaitable[Exit]]) -> None:
    """Do `work` with a client and end the command (typer.Exit) with its code, or with the code of what went wrong."""
    with ending():
        connection = find_connection(terms.server, terms.token, os.environ, uid=os.getuid())
        raise typer.Exit(int(_ended(connection, work)))


def _ended(connection: Connection, work: Callable[[CloneClient], Awaitable[Exit]]) -> Exit:
    try:
        return asyncio.run(_work(connection, work))
    except ClientError as error:
        complain(error.message, details=(*_details(error), *_advice(error, connection)))
        return exit_of_reason(error.reason)
    except KeyboardInterrupt:
        return Exit.DETACHED


async def _work(connection: Connection, work: Callable[[CloneClient], Awaitable[Exit]]) -> Exit:
    try:
        client = connect(connection.server, connection.token)
    except ValueError as error:
        raise Trouble(Exit.USAGE, str(error)) from error
    async with client:
        return await work(client)


def _details(error: ClientError) -> tuple[str, ...]:
    """All that is wrong with the request's fields, and the reason for programs."""
    return (*(f"{v.field}: {v.description}" for v in error.violations), f"reason {error.reason}")


def _advice(error: ClientError, connection: Connection) -> tuple[str, ...]:
    """What to do, where this side knows."""
    match exit_of_reason(error.reason):
        case Exit.ACCESS if not connection.token:
            return ("no token: set WPCLONE_TOKEN, or start a local service with `wpclone up`",)
        case Exit.UNREACHABLE if error.reason == "UNREACHABLE":
            return (f"server {connection.server}; `wpclone status` shows a local service, `wpclone up` starts one",)
        case Exit.LIMIT if error.retry_after is not None:
            return (f"try again in {error.retry_after.total_seconds():.0f} s",)
        case _:
            return ()
