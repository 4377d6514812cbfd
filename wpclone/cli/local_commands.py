"""`wpclone up`, `down`, `status`, `demo`: hand over to `standalone`, and say clearly when this installation cannot.

The wheel has the client alone; the server and the workers run from a checkout (or the image).
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from wpclone.cli.complaint import complain
from wpclone.cli.exits import Exit
from wpclone.cli.options import Format, Output

Stay = Annotated[bool, typer.Option("--stay/--exit", help="Keep running until Ctrl-C afterwards. Only on a terminal.")]


def up() -> None:
    """Run the whole service on this machine until Ctrl-C. Its state is in /var/lib/wpclone, or WPCLONE_STATE_DIR."""

    def run() -> int:
        from wpclone.standalone import up

        return up.run()

    _here("up", run)


def down() -> None:
    """Stop what `wpclone up` runs, and wait until it has stopped."""

    def run() -> int:
        from wpclone.standalone import down

        return down.run()

    _here("down", run)


def status(output: Output = Format.TABLE) -> None:
    """Show what `wpclone up` runs: parts, addresses, clones."""

    def run() -> int:
        from wpclone.standalone import status

        return status.run(output=output.value)

    _here("status", run)


def demo(stay: Stay = True) -> None:
    """Make a sample site, clone it through the whole service, and check the clone. The last line on stdout is JSON."""

    def run() -> int:
        from wpclone.standalone import demo

        code: int = demo.run(stay=stay and sys.stdout.isatty())
        return code

    _here("demo", run)


def _here(command: str, run: Callable[[], int]) -> None:
    """Run it where the service's own packages are; elsewhere say what is missing."""
    missing = [name for name in ("server", "workers") if importlib.util.find_spec(name) is None]
    try:
        if not missing:
            raise typer.Exit(run())
    except ModuleNotFoundError as error:
        missing = [error.name or str(error)]
    complain(
        f"`wpclone {command}` needs the service, which this installation lacks ({', '.join(missing)})",
        details=("it runs from a checkout: git clone, make setup, then `wpclone up` there",),
    )
    raise typer.Exit(int(Exit.NOT_HERE))
