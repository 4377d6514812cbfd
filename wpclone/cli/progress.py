"""Progress on stderr: a bar on a terminal, plain lines in a log, or nothing. Each watched job is a bar, or lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from wpclone.cli.complaint import say
from wpclone.cli.options import Progress
from wpclone.cli.view import View


class Stage(Protocol):
    """Where watched jobs are shown. `view` may be drawn at any rate; `line` is said once."""

    def show(self, view: View, line: str | None) -> None:
        """A job changed."""

    def note(self, text: str) -> None:
        """Something about the watch itself, such as a lost connection."""


class Plain:
    """One line for each change that matters. With `names`, each line says which job it is about."""

    def __init__(self, *, names: bool) -> None:
        self._names = names

    def show(self, view: View, line: str | None) -> None:
        """Say the line, if there is one."""
        if line is not None:
            say(f"{view.job_id}  {line}" if self._names else line)

    def note(self, text: str) -> None:
        """Say it."""
        say(text)


class Silent:
    """Nothing at all."""

    def show(self, view: View, line: str | None) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@contextmanager
def stage(progress: Progress, *, several: bool) -> Iterator[Stage]:
    """The stage for this terminal: `auto` is a bar when stderr is one (whatever colour variables say)."""
    if progress is Progress.NONE:
        yield Silent()
    elif progress is Progress.BAR or (progress is Progress.AUTO and sys.stderr.isatty()):
        # rich costs more to import than the rest of the command.
        from wpclone.cli.bars import bars  # noqa: PLC0415

        with bars() as drawn:
            yield drawn
    else:
        yield Plain(names=several)
