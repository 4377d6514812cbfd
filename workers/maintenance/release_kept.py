"""Drops what restores put aside at their targets once it has been kept long enough: one release job each."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import WrongState
from wpclone.core.jobs.site_key import site_key
from wpclone.core.jobs.states import KeptState, Priority
from wpclone.core.kept_sets import leaving_job
from wpclone.core.secrets import KeyRing, SecretsUnreadable
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 20
"""Restores a pass."""


@dataclass(frozen=True)
class ReleaseKept:
    """Begins releases. A site that is busy, or whose secrets cannot be read now, is tried in the next pass."""

    store: JobStore
    keys: KeyRing
    randomness: Randomness

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable."""
        for restore in await self.store.kept_due(most=MOST):
            try:
                new = leaving_job(restore, KeptState.RELEASED, self.keys, self.randomness, priority=Priority.LOW)
                key = site_key(restore.request["target_url"])
                job = await self.store.begin_leaving(new, of=restore.job_id, becomes=KeptState.RELEASED, site_key=key)
            except (WrongState, SecretsUnreadable) as error:
                _log.warning("kept.not_released", job_id=restore.job_id, reason=error.reason)
                continue
            _log.info("kept.released", job_id=restore.job_id, by=job.job_id)
