"""Looks for what no record accounts for: places and databases of clones that are deleted, that failed, or that nobody knows.

A thing is an orphan when two passes in a row found it so. Those of known clones are removed, a few a pass. Those nobody knows
are only reported and counted unless told otherwise: a job store restored from an old backup does not know its youngest clones.
"""

from __future__ import annotations

import structlog

from workers.clone_databases import CloneDatabases
from workers.runtimes import Runtime
from wpclone.core.jobs.states import CloneState
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 5
"""Orphans removed a pass: a mistake stays small."""


class Sweep:
    """One worker's sweep. `removes_unknown` also removes what no record names."""

    def __init__(
        self, store: JobStore, runtime: Runtime, databases: CloneDatabases, metrics: Metrics, *, removes_unknown: bool
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._databases = databases
        self._metrics = metrics
        self._removes_unknown = removes_unknown
        self._suspects: set[str] = set()
        self._unknown = 0

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable, and what runtime and database raise."""
        self._unknown = 0
        places = {place.clone_id for place in await self._runtime.list()}
        databases = {"clone-" + name.removeprefix("wpc_") for name in await self._databases.names()}
        orphans = {clone_id for clone_id in sorted(places | databases) if await self._is_orphan(clone_id)}
        for clone_id in sorted(orphans & self._suspects)[:MOST]:
            if clone_id in places:
                await self._runtime.delete(clone_id)
            await self._databases.drop(clone_id)
            self._metrics.orphans_removed.inc()
            _log.warning("sweep.removed", clone_id=clone_id)
        self._suspects = orphans
        for restore_id in (await self._databases.scratch_of())[:MOST]:
            if await self._store.get_job(restore_id) is None and not self._removes_unknown:
                self._unknown += 1
                _log.warning("sweep.unknown", restore_id=restore_id, removed=False)
            elif await self._is_over(restore_id):
                await self._databases.drop_scratch(restore_id)
                self._metrics.orphans_removed.inc()
                _log.warning("sweep.removed", restore_id=restore_id)
        self._metrics.orphans_unknown.set(self._unknown)

    async def _is_orphan(self, clone_id: str) -> bool:
        clone = await self._store.get_clone(clone_id)
        if clone is not None:
            return clone.state is CloneState.DELETED or (clone.state is CloneState.FAILED and await self._is_over(clone_id))
        self._unknown += not self._removes_unknown
        _log.warning("sweep.unknown", clone_id=clone_id, removed=self._removes_unknown)
        return self._removes_unknown

    async def _is_over(self, job_id: str) -> bool:
        """Whether the job that made the thing has ended: until then its own undo is at work."""
        job = await self._store.get_job(job_id)
        return job is None or job.state.is_terminal
