"""Claims and transitions in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wpclone.core.jobs.errors import StaleClaim
from wpclone.core.jobs.job import Claim, Job, Renewal
from wpclone.core.jobs.states import JobKind, JobState
from wpclone.core.jobs.transitions import Transition
from wpclone.core.jobs.view import rfc3339
from wpclone.core.store import LEASE, PRIORITY_RANK, clip
from wpclone.core.store.memory.shelves import Aside, Kept, Lease, Part, with_step


class Changes(Part):
    """What workers do to jobs."""

    async def claim(self, job_id: str, *, worker: str) -> Claim | None:
        """See JobStore.claim."""
        shelves, now = self._shelves, self._shelves.now()
        kept = shelves.jobs.get(job_id)
        if kept is None or not self._is_claimable(kept.job, now):
            return None
        if self._is_over_cap(kept.job):
            kept.waits_for_cap = True
            return None
        lapsed = kept.job.state is JobState.RUNNING
        fence = kept.job.fence + 1
        kept.change(now, state=JobState.RUNNING, fence=fence, lapses=kept.job.lapses + lapsed)
        kept.rung_until = now
        kept.waits_for_cap = False
        shelves.leases[job_id] = Lease(worker, fence, now + LEASE)
        return Claim(kept.job, worker, fence, lapsed)

    async def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """See JobStore.renew."""
        shelves, now = self._shelves, self._shelves.now()
        renewed = []
        for job_id, fence in fences.items():
            lease = shelves.leases.get(job_id)
            if lease is not None and lease.worker == worker and lease.fence == fence:
                lease.until = now + LEASE
                renewed.append(Renewal(job_id, fence, shelves.jobs[job_id].job.cancel_requested_at is not None))
        return renewed

    async def claims_of(self, worker: str) -> dict[str, int]:
        """See JobStore.claims_of."""
        return {job_id: lease.fence for job_id, lease in self._shelves.leases.items() if lease.worker == worker}

    async def apply(self, transition: Transition) -> Job:
        """See JobStore.apply."""
        shelves, now = self._shelves, self._shelves.now()
        kept = shelves.jobs.get(transition.job_id)
        if kept is None or kept.job.fence != transition.fence or kept.job.state not in transition.sources:
            raise StaleClaim
        if transition.forbids_cancel and kept.job.cancel_requested_at is not None:
            raise StaleClaim("Somebody asked to cancel this job.", metadata={"cancel_requested": "true"})
        if transition.forbids_cancel and kept.job.verdict is not None:
            raise StaleClaim("This job has its verdict already.")
        values = dict(transition.sets)
        if "progress" in values:
            values["progress"] = max(values["progress"], kept.job.progress)
        if "status_message" in values:
            values["status_message"] = clip(values["status_message"])
        for step in transition.steps:
            values["steps"] = with_step(values.get("steps", kept.job.steps), step, now)
        if transition.pause is not None:
            values["next_run_at"] = now + transition.pause
        if transition.target.is_terminal:
            values["completed_at"] = now
        if transition.clone is not None and transition.clone.starts_ttl and kept.job.clone_id in shelves.clones:
            expires = now + shelves.clones[kept.job.clone_id].ttl
            values["result"] = {**(values.get("result") or {}), "expires_at": rfc3339(expires)}
        values |= self._put_aside(transition, values.get("result"), now)
        if transition.target.is_terminal:
            shelves.unlock_sites(kept.job.job_id, is_completed=transition.target is JobState.COMPLETED, now=now)
        self._change_clone(transition, kept.job.clone_id, now)
        kept.change(now, state=transition.target, **values)
        if transition.releases:
            self._release(kept, now)
        return kept.job

    def _put_aside(self, transition: Transition, result: Any, now: datetime) -> dict[str, Any]:
        if transition.keeps is None:
            return {}
        until = now + transition.keeps.keep_for
        for site_key in [key for key, holder in self._shelves.sites.items() if holder == transition.job_id]:
            self._shelves.aside[transition.job_id] = Aside(site_key, now, until)
        return {"result": {**(result or {}), "rollback_until": rfc3339(until)}}

    def _is_claimable(self, job: Job, now: datetime) -> bool:
        if job.state is JobState.PENDING:
            return job.next_run_at <= now or job.deadline_at <= now
        return job.state is JobState.RUNNING and self._shelves.lease_is_over(job.job_id, now)

    def _is_over_cap(self, job: Job) -> bool:
        cap = self._shelves.customer(job.customer_id).limits.running_jobs
        if cap is None or job.kind is JobKind.DELETE or job.state is JobState.RUNNING or job.is_to_be_undone:
            return False
        return self._running(job.customer_id) >= cap

    def _running(self, customer_id: str) -> int:
        return sum(
            kept.job.customer_id == customer_id and kept.job.state is JobState.RUNNING and kept.job.kind is not JobKind.DELETE
            for kept in self._shelves.jobs.values()
        )

    def _release(self, kept: Kept, now: datetime) -> None:
        self._shelves.leases.pop(kept.job.job_id, None)
        if kept.job.state is JobState.PENDING:
            kept.rung_until = now
        waiting = [
            other
            for other in self._shelves.jobs.values()
            if other.waits_for_cap and other.job.customer_id == kept.job.customer_id and other.job.state is JobState.PENDING
        ]
        if waiting:
            woken = min(waiting, key=lambda k: (PRIORITY_RANK[k.job.priority], k.job.next_run_at, k.job.job_id))
            woken.waits_for_cap = False
            woken.rung_until = now

    def _change_clone(self, transition: Transition, clone_id: str | None, now: datetime) -> None:
        change = transition.clone
        if change is None or clone_id is None or clone_id not in self._shelves.clones:
            return
        asked = {"facts": change.facts, "url": change.url, "admin_login": change.admin_login}
        values: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        if change.starts_ttl:
            values["ready_at"] = now
            values["expires_at"] = now + self._shelves.clones[clone_id].ttl
        self._shelves.change_clone(clone_id, now, state=change.state, **values)
