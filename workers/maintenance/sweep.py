"""Removes what no live record accounts for: places and databases of clones that are deleted, that failed, or that nobody knows.

An orphan is removed when two passes in a row found it so, a few a pass. Those nobody knows are only reported and counted unless
told otherwise: a job store restored from an old backup does not know its youngest clones. A ready clone whose place the runtime
has ended gets its delete job.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from workers.clone_databases import CloneDatabases
from workers.maintenance.expire import Expiry
from workers.maintenance.orphans import Orphan, look
from workers.runtimes import Runtime
from wpclone.core.jobs.errors import CloneInUse, CloneNotFound
from wpclone.core.jobs.job import Clone
from wpclone.core.metrics import Metrics
from wpclone.core.settings import Sweeping
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 5
"""Orphans removed a pass: a mistake stays small."""


@dataclass
class Sweep:
    """One worker's sweep. `mode` `report` removes nothing, `known` what a record names, `all` also what none does."""

    store: JobStore
    runtime: Runtime
    databases: CloneDatabases
    expiry: Expiry
    metrics: Metrics
    mode: Sweeping
    _suspects: set[str] = field(default_factory=set)

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable, and what runtime and database raise."""
        found = await look(self.store, self.runtime, self.databases)
        for clone in found.ended:
            await self._end(clone)
        self.metrics.orphans_known.set(sum(orphan.is_known for orphan in found.orphans))
        self.metrics.orphans_unknown.set(sum(not orphan.is_known for orphan in found.orphans))
        due = [orphan for orphan in found.orphans if removes(self.mode, orphan)]
        for orphan in found.orphans:
            if orphan not in due:
                _log.warning("sweep.found", of=orphan.of, record=orphan.record)
        for orphan in [each for each in due if each.of in self._suspects][:MOST]:
            await self._remove(orphan)
        self._suspects = {orphan.of for orphan in due}

    async def _end(self, clone: Clone) -> None:
        if self.mode == "report":
            _log.warning("sweep.found", of=clone.clone_id, record=clone.state.value)
            return
        try:
            job = await self.store.begin_delete(self.expiry.delete_job(clone))
        except (CloneInUse, CloneNotFound) as error:
            _log.warning("clone.not_ended", clone_id=clone.clone_id, reason=error.reason)
            return
        _log.warning("clone.ended_elsewhere", clone_id=clone.clone_id, job_id=job.job_id)

    async def _remove(self, orphan: Orphan) -> None:
        if orphan.of.startswith("restore-"):
            await self.databases.drop_scratch(orphan.of)
        else:
            if orphan.has_place:
                await self.runtime.delete(orphan.of)
            await self.databases.drop(orphan.of)
            await self.runtime.forget(orphan.of)
        (self.metrics.orphans_known if orphan.is_known else self.metrics.orphans_unknown).dec()
        self.metrics.orphans_removed.inc()
        _log.warning("sweep.removed", of=orphan.of, record=orphan.record)


def removes(mode: Sweeping, orphan: Orphan) -> bool:
    """Whether a sweep of this mode removes it."""
    return mode == "all" or (mode == "known" and orphan.is_known)
