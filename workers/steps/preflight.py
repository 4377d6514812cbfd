"""Look at the source and judge, before anything is created: can it be copied, does it fit, what will be left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.sources import Sources
from workers.step import Done, StepContext
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Facts
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.excludes import Excludes
from wpclone.wordpress.inspect import SiteReport, inspect, refuse_unsupported

SPARE_BYTES = 64 << 20
"""What is kept free beside the copy."""

TABLE_FACTOR = 3
"""A table's data, its indexes and the binary log of loading it."""

FreeBytes = Callable[[Path], int]
"""How many bytes a directory's file system has left for us."""


def free_bytes(directory: Path) -> int:
    """By statvfs(3), without the share that is kept for root."""
    return shutil.disk_usage(directory).free


@dataclass(frozen=True)
class Room:
    """Where copies go and how large one may be, in bytes."""

    directory: Path
    most_bytes: int
    free: FreeBytes


class Preflight:
    """The step `preflight`. `only_tells`: a site that cannot be cloned is no failure."""

    name = "preflight"

    def __init__(self, sources: Sources, room: Room, *, only_tells: bool = False) -> None:
        self._sources = sources
        self._room = room
        self._only_tells = only_tells

    async def do(self, context: StepContext) -> Done:
        """Facts: the source's report, without the values of credentials, and its size; the room there is; why it cannot be
        cloned, which is raised unless this step only tells."""
        async with self._sources.agent(context) as agent:
            report = await inspect(agent, exclude=excludes_of(context))
        free = await blocking(self._room.free, self._room.directory)
        refusals = list(_refusals(report, self._room.most_bytes, free))
        if refusals and not self._only_tells:
            raise refusals[0]
        told = [{"reason": _reason(error), "message": error.message} for error in refusals]
        room = {"needed_bytes": needed_bytes(report), "free_bytes": free, "most_bytes": self._room.most_bytes}
        return Done(
            {"report": report.to_json(), "room": room, "refusals": told, "site_bytes": report.file_bytes + report.table_bytes}
        )

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""


def excludes_of(context: StepContext) -> Excludes:
    """What the job was asked to leave out."""
    asked = context.job.request
    return Excludes(tuple(asked.get("exclude_paths") or ()), tuple(asked.get("exclude_tables") or ()))


def report_of(facts: Facts) -> SiteReport:
    """The report in this step's facts."""
    return SiteReport.from_json(facts["report"])


def needed_bytes(report: SiteReport) -> int:
    """The disk space a copy takes while it is made."""
    return report.file_bytes + TABLE_FACTOR * report.table_bytes + SPARE_BYTES


def _refusals(report: SiteReport, most: int, free: int) -> Iterator[Fatal | SiteError]:
    """Every reason for which this site cannot be cloned here."""
    judges: tuple[Callable[[], None], ...] = (
        lambda: refuse_unsupported(report),
        lambda: refuse_too_large(report, most),
        lambda: refuse_too_little_space(report, free),
    )
    for judge in judges:
        try:
            judge()
        except (Fatal, SiteError) as error:
            yield error


def _reason(error: Fatal | SiteError) -> str:
    return error.code if isinstance(error, Fatal) else error.reason.value


def refuse_too_large(report: SiteReport, most: int) -> None:
    """Raise Fatal(SITE_TOO_LARGE)."""
    size = report.file_bytes + report.table_bytes
    if size > most:
        raise Fatal("SITE_TOO_LARGE", f"The site has {_megabytes(size)}; at most {_megabytes(most)} are copied here.")


def refuse_too_little_space(report: SiteReport, free: int) -> None:
    """Raise Fatal(TOO_LITTLE_SPACE)."""
    needed = needed_bytes(report)
    if needed > free:
        sentence = (
            f"The copy needs {_megabytes(needed)} of disk and {_megabytes(free)} are free; free some, or clone a smaller site."
        )
        raise Fatal("TOO_LITTLE_SPACE", sentence)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
