"""What a command says on stderr when it does not end well: the sentence, what to look at, what to do next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from wpclone.cli.exits import Exit
from wpclone.cli.table import clean


class Trouble(Exception):
    """A command cannot go on, for a cause found on this side of the connection. `exit` is the code it ends with."""

    def __init__(self, exit: Exit, message: str, *, hints: tuple[str, ...] = ()) -> None:  # noqa: A002
        self.exit = exit
        self.message = message
        self.hints = hints
        super().__init__(message)


def complain(message: str, *, details: tuple[str, ...] = ()) -> None:
    """`wpclone: <message>` and indented details, on stderr, without control characters."""
    say(f"wpclone: {message}")
    for detail in details:
        say(f"  {detail}")


def say(line: str) -> None:
    """One line on stderr."""
    sys.stderr.write(clean(line) + "\n")
    sys.stderr.flush()


@contextmanager
def ending() -> Iterator[None]:
    """Trouble inside the block is said and ends the command with its code (typer.Exit); a reader that went away ends it too."""
    try:
        yield
    except BrokenPipeError:
        # Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(int(Exit.UNREAD)) from None
    except Trouble as trouble:
        complain(trouble.message, details=trouble.hints)
        raise typer.Exit(int(trouble.exit)) from trouble
