"""Copy the source's files into the clone's staging directory; resumes where an earlier attempt stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from workers.coming_place import ComingPlace
from workers.runtimes import Place, Runtime, place_of
from workers.sources import Sources
from workers.step import Done, StepContext
from workers.steps.preflight import FreeBytes, Preflight, excludes_of, refuse_too_little_space, report_of
from wpclone.core.jobs.errors import Fatal
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.progress import Counts


class CopyFiles:
    """The step `copy_files`. `work` is where fences and cursors lie, outside of all docroots, on a disk all workers share."""

    name = "copy_files"

    def __init__(self, sources: Sources, runtime: Runtime, work: Path, free: FreeBytes) -> None:
        self._sources = sources
        self._runtime = runtime
        self._work = work
        self._free = free

    async def do(self, context: StepContext) -> Done:
        """Facts: files, bytes, links, excluded, changed."""
        report = report_of(context.facts[Preflight.name])
        staging = _staging(await place_of(self._runtime, context.clone_id))
        if not self._state(context).exists():
            refuse_too_little_space(report, await blocking(self._free, staging))
        fence = Fence(self._state(context), context.fence)
        coming = ComingPlace(self._runtime, context.clone_id, context.report)
        async with self._sources.agent(context) as agent:
            copying = copy_files(
                agent, report, staging, fence=fence, progress=lambda counts: coming.report(counts.fraction, _sentence(counts)),
                exclude=excludes_of(context).paths, near=await self._sources.near(context),
            )  # fmt: skip
            copied = await coming.beside(copying)
        return Done(copied.to_json())

    async def undo(self, context: StepContext) -> None:
        """Forget the cursor; the files go with the place."""
        await blocking(forget_cursor, self._state(context))

    def _state(self, context: StepContext) -> Path:
        return cursor_directory(self._work, context.clone_id)


def cursor_directory(work: Path, clone_id: str) -> Path:
    """Where the fence and cursor of a clone's file copy lie."""
    return work / clone_id


def forget_cursor(directory: Path) -> None:
    """Remove it; success when it has gone already."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return


def _staging(place: Place) -> Path:
    if place.staging is None:
        raise Fatal("NO_STAGING", "This runtime takes files another way.")
    return place.staging


def _sentence(counts: Counts) -> str:
    return (
        f"Copying files: {counts.files_done:,} of {counts.files_total:,}, "
        f"{counts.bytes_done / 1e6:,.1f} of {counts.bytes_total / 1e6:,.1f} MB"
    )
