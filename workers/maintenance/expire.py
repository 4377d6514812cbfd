"""Begins the deletion of clones whose time is over. The store makes it one transaction a clone, so it happens once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from wpclone.core.ids import Randomness, new_job_id
from wpclone.core.jobs.job import Clone, NewJob
from wpclone.core.jobs.states import JobKind, Priority
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 50
"""Clones a pass."""

DELETE_RUNS_FOR = timedelta(hours=2)
"""The deadline of a delete job, counted from its acceptance."""


@dataclass(frozen=True)
class Expiry:
    """Expires clones. `version` is the definition version of the delete jobs it makes."""

    store: JobStore
    randomness: Randomness
    version: int

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable."""
        for job in await self.store.expire_due(self.delete_job, most=MOST):
            _log.info("clone.expired", clone_id=job.clone_id, job_id=job.job_id)

    def delete_job(self, clone: Clone) -> NewJob:
        """A delete job of this clone that nobody asked for."""
        return NewJob(
            job_id=new_job_id(JobKind.DELETE, self.randomness),
            kind=JobKind.DELETE,
            customer_id=clone.customer_id,
            request={"clone_id": clone.clone_id},
            secrets=None,
            definition_version=self.version,
            run_for=DELETE_RUNS_FOR,
            priority=Priority.LOW,
            clone_id=clone.clone_id,
        )
