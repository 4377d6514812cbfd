"""Look at the source and judge, before anything is created: can it be copied, does it fit, what will be left out."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.sources import Sources
from workers.step import Done, StepContext
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Facts
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
    """The step `preflight`. Creates nothing, so there is nothing to undo."""

    name = "preflight"

    def __init__(self, sources: Sources, room: Room) -> None:
        self._sources = sources
        self._room = room

    async def do(self, context: StepContext) -> Done:
        """Facts: the source's report, without the values of credentials."""
        async with self._sources.agent(context) as agent:
            report = await inspect(agent, exclude=excludes_of(context))
        refuse_unsupported(report)
        refuse_too_large(report, self._room.most_bytes)
        refuse_too_little_space(report, await asyncio.to_thread(self._room.free, self._room.directory))
        return Done({"report": report.to_json()})

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""


def excludes_of(context: StepContext) -> Excludes:
    """What the job was asked to leave out."""
    asked = context.job.request
    return Excludes(tuple(asked.get("exclude_paths") or ()), tuple(asked.get("exclude_tables") or ()))


def report_of(facts: Facts) -> SiteReport:
    """The report in this step's facts."""
    return SiteReport.from_json(facts["report"])


def refuse_too_large(report: SiteReport, most: int) -> None:
    """Raise Fatal(SITE_TOO_LARGE)."""
    size = report.file_bytes + report.table_bytes
    if size > most:
        raise Fatal("SITE_TOO_LARGE", f"The site has {_megabytes(size)}; at most {_megabytes(most)} are copied here.")


def refuse_too_little_space(report: SiteReport, free: int) -> None:
    """Raise Fatal(TOO_LITTLE_SPACE)."""
    needed = report.file_bytes + TABLE_FACTOR * report.table_bytes + SPARE_BYTES
    if needed > free:
        sentence = (
            f"The copy needs {_megabytes(needed)} of disk and {_megabytes(free)} are free; free some, or clone a smaller site."
        )
        raise Fatal("TOO_LITTLE_SPACE", sentence)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
