"""Leave the source as it was: remove the agent that we installed, or the key that we enrolled. The clone needs neither."""

from __future__ import annotations

import structlog

from workers.sources import Sources, admin_login, is_admin_login, own_clone, way_in
from workers.step import Done, StepContext
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.way_in import leave

_log = structlog.get_logger(__name__)


class ReleaseSource:
    """The step `release_source`. Its failure is retried, then reported; it never fails the clone."""

    name = "release_source"

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent`: `removed`, `kept` (the customer's or a clone's own, without our key) or `left` (with the reason)."""
        if own_clone(context) is not None or not is_admin_login(context):
            return Done({"agent": "kept"})
        try:
            async with self._sources.session(context) as session:
                is_gone = await leave(session, admin_login(context), way_in(context))
        except SiteError as error:
            if error.transient and not context.is_last_attempt:
                raise
            _log.warning("agent.left", job_id=context.job.job_id, reason=error.reason.value)
            return Done({"agent": "left", "reason": error.reason.value, "message": error.message})
        return Done({"agent": "removed" if is_gone else "kept"})

    async def undo(self, context: StepContext) -> None:
        """Nothing to bring back: `reach_source` removes an agent that is still there."""
