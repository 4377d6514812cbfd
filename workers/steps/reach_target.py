"""Get an agent at the site that is written to, and take it away again: as at a source, with the target's own sign-in."""

from __future__ import annotations

from workers.at_target import REACH_TARGET, at_target
from workers.sources import Sources
from workers.step import Done, StepContext
from workers.steps.reach_source import ReachSource
from workers.steps.release_source import ReleaseSource


class ReachTarget:
    """The step `reach_target`. Its undo removes an agent that we installed."""

    name = REACH_TARGET

    def __init__(self, sources: Sources) -> None:
        self._reach = ReachSource(sources, writes=True)

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent_url`."""
        return await self._reach.do(at_target(context))

    async def undo(self, context: StepContext) -> None:
        """Remove what we installed."""
        await self._reach.undo(at_target(context))


class ReleaseTarget:
    """The step `release_target`. Its failure is retried, then reported; the target has its new content all the same."""

    name = "release_target"

    def __init__(self, sources: Sources) -> None:
        self._release = ReleaseSource(sources)

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent`: removed, kept or left."""
        return await self._release.do(at_target(context))

    async def undo(self, context: StepContext) -> None:
        """Nothing to bring back: `reach_target` removes an agent that is still there."""


class ReachRestored:
    """The step `reach_source` of a restore. A clone of ours has its agent already."""

    name = ReachSource.name

    def __init__(self, sources: Sources) -> None:
        self._reach = ReachSource(sources)

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent_url` of a site that is no clone of ours."""
        return await self._reach.do(context) if context.job.clone_id is None else Done()

    async def undo(self, context: StepContext) -> None:
        """Remove what we installed."""
        if context.job.clone_id is None:
            await self._reach.undo(context)


class ReleaseRestored:
    """The step `release_source` of a restore."""

    name = ReleaseSource.name

    def __init__(self, sources: Sources) -> None:
        self._release = ReleaseSource(sources)

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent`, for a site that is no clone of ours."""
        return await self._release.do(context) if context.job.clone_id is None else Done()

    async def undo(self, context: StepContext) -> None:
        """Nothing to bring back: `reach_source` removes an agent that is still there."""
