"""Restores in memory."""

from __future__ import annotations

from datetime import datetime

from wpclone.core.jobs.errors import NothingKept, SiteBusy
from wpclone.core.jobs.job import Job, NewJob, RequestKey
from wpclone.core.jobs.states import KeptState
from wpclone.core.store.memory.accepting import check_limits, hold_clone
from wpclone.core.store.memory.shelves import Part


class Restores(Part):
    """Jobs that write sites which are not ours."""

    async def begin_restore(self, new: NewJob, *, site_key: str, key: RequestKey | None = None) -> Job:
        """See JobStore.begin_restore."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None:
            return shelves.jobs[known].job
        check_limits(shelves, shelves.customer(new.customer_id), new, None, now)
        if new.clone_id is not None:
            hold_clone(shelves, new.clone_id, new.customer_id, now)
        return self._begin(new, site_key, key, now)

    async def begin_leaving(
        self, new: NewJob, *, of: str, becomes: KeptState, site_key: str, key: RequestKey | None = None
    ) -> Job:
        """See JobStore.begin_leaving."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None:
            return shelves.jobs[known].job
        shelves.customer(new.customer_id)
        aside = shelves.aside.get(of)
        if aside is None or aside.state is not KeptState.KEPT:
            raise NothingKept
        still = {KeptState.KEPT, KeptState.LEAVING}
        newer = (a for a in shelves.aside.values() if a.site_key == aside.site_key and a.since > aside.since and a.state in still)
        if becomes is KeptState.ROLLED_BACK and any(newer):
            raise NothingKept("A later restore of this site is kept too; roll that back, or release it, first.")
        job = self._begin(new, site_key, key, now)
        aside.state, aside.becomes, aside.leaving_by = KeptState.LEAVING, becomes, new.job_id
        return job

    async def kept_state(self, job_id: str) -> KeptState | None:
        """See JobStore.kept_state."""
        self._shelves.now()
        aside = self._shelves.aside.get(job_id)
        return aside.state if aside is not None else None

    async def kept_due(self, *, most: int) -> list[Job]:
        """See JobStore.kept_due."""
        now = self._shelves.now()
        due = sorted(
            (a.until, job_id) for job_id, a in self._shelves.aside.items() if a.state is KeptState.KEPT and a.until <= now
        )
        return [self._shelves.jobs[job_id].job for _, job_id in due[:most]]

    def _begin(self, new: NewJob, site_key: str, key: RequestKey | None, now: datetime) -> Job:
        if site_key in self._shelves.sites:
            raise SiteBusy
        self._shelves.sites[site_key] = new.job_id
        self._shelves.remember(key, new.job_id)
        return self._shelves.add_job(new, now)
