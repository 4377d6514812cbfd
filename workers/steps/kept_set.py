"""What becomes of the content that a restore put aside at its target: taken back, or dropped."""

from __future__ import annotations

from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from wpclone.core.jobs.errors import Fatal


class RollBack:
    """The step `roll_back`: the target's content from before the restore is live again."""

    name = "roll_back"

    def __init__(self, sites: RestoreSites) -> None:
        self._sites = sites

    async def do(self, context: StepContext) -> Done:
        """Facts: `lost`: tables that were written to since the restore went live, whose changes are gone with it."""
        async with self._sites.target(context) as target:
            state = await target.find()
            if state is None and not _was_begun(context):
                raise Fatal("NOTHING_TO_ROLL_BACK", "The target does not have its content from before this restore any more.")
            lost = await target.changed_since_live() if state is not None and state.state == "live" else []
            if state is not None and state.state not in ("rolled_back", "releasing"):
                await target.rollback()
            if state is not None:
                await target.release()
        return Done({"lost": lost})

    async def undo(self, context: StepContext) -> None:
        """Nothing: it is whole, old or new, and can be asked for again."""


class Release:
    """The step `release`: the content from before the restore is dropped; there is no way back."""

    name = "release"

    def __init__(self, sites: RestoreSites) -> None:
        self._sites = sites

    async def do(self, context: StepContext) -> Done:
        """Success also when it has gone already."""
        async with self._sites.target(context) as target:
            if await target.find() is not None:
                await target.release()
        return Done()

    async def undo(self, context: StepContext) -> None:
        """Nothing brings it back."""


def _was_begun(context: StepContext) -> bool:
    """Whether an earlier attempt of this very step may have finished unseen."""
    row = next((step for step in context.job.steps if step.name == RollBack.name), None)
    return row is not None and row.attempts > 1
