"""Watched jobs as rich progress bars on a terminal's stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wpclone.cli.table import clean
from wpclone.cli.view import View


class Bars:
    """One bar a job: its id, how far it is, for how long, and where it is."""

    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._tasks: dict[str, TaskID] = {}

    def show(self, view: View, line: str | None) -> None:
        """Move the job's bar; what a line would say is beside it already."""
        if view.job_id not in self._tasks:
            self._tasks[view.job_id] = self._drawn.add_task("", total=100, job_id=view.job_id)
        task = self._tasks[view.job_id]
        self._drawn.update(task, completed=view.progress, description=escape(clean(view.sentence)))
        if view.is_over:
            self._drawn.stop_task(task)

    def note(self, text: str) -> None:
        """Say it above the bars."""
        self._drawn.console.print(escape(clean(text)), highlight=False)


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars that are drawn inside the block and stay as they were at its end."""
    columns = (
        TextColumn("{task.fields[job_id]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as drawn:
        yield Bars(drawn)
