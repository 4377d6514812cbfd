"""Accepting jobs in memory: new ones, deletions, cancellations."""

from __future__ import annotations

from datetime import datetime, timedelta

from wpclone.core.jobs.errors import CloneInUse, CloneNotFound, CloneNotReady, JobFinished, JobNotFound, LimitReached, WrongState
from wpclone.core.jobs.job import Clone, Customer, Job, NewClone, NewJob, RequestKey
from wpclone.core.jobs.states import CloneState, JobKind, JobState
from wpclone.core.store import CANCELLED_EARLY, LIVE, NewJobFor
from wpclone.core.store.memory.shelves import Kept, Part, Shelves

_MINUTE = timedelta(minutes=1)


class Accepting(Part):
    """What the edge asks for."""

    async def accept(self, new: NewJob, *, key: RequestKey | None = None, clone: NewClone | None = None) -> Job:
        """See JobStore.accept."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None:
            return shelves.jobs[known].job
        check_limits(shelves, shelves.customer(new.customer_id), new, clone, now)
        if new.reads_clone is not None:
            hold_clone(shelves, new.reads_clone, new.customer_id, now)
        if clone is not None:
            shelves.add_clone(clone, now)
        shelves.remember(key, new.job_id)
        return shelves.add_job(new, now)

    async def begin_delete(self, new: NewJob, *, key: RequestKey | None = None) -> Job:
        """See JobStore.begin_delete."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None:
            return shelves.jobs[known].job
        clone = shelves.clones.get(new.clone_id or "")
        if clone is None or clone.customer_id != new.customer_id or clone.state is CloneState.DELETED:
            raise CloneNotFound
        job = self._deletion(clone, new, now)
        shelves.remember(key, job.job_id)
        return job

    async def expire_due(self, make: NewJobFor, *, most: int) -> list[Job]:
        """See JobStore.expire_due."""
        shelves, now = self._shelves, self._shelves.now()
        over = [
            clone
            for clone in shelves.clones.values()
            if clone.state is CloneState.READY
            and clone.expires_at
            and clone.expires_at <= now
            and not shelves.is_read(clone.clone_id)
        ]
        over.sort(key=lambda clone: (clone.expires_at, clone.clone_id))
        return [self._deletion(clone, make(clone), now) for clone in over[:most]]

    async def request_cancel(self, job_id: str, *, key: RequestKey | None = None) -> Job:
        """See JobStore.request_cancel."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None:
            return shelves.jobs[known].job
        kept = shelves.jobs.get(job_id)
        if kept is None:
            raise JobNotFound
        if kept.job.state.is_terminal and kept.job.state is not JobState.CANCELLED:
            raise JobFinished
        if kept.job.kind is JobKind.DELETE:
            raise WrongState("A deletion cannot be cancelled.")
        self._cancel(kept, now)
        shelves.remember(key, job_id)
        return kept.job

    def _cancel(self, kept: Kept, now: datetime) -> None:
        job = kept.job
        if job.state.is_terminal or job.cancel_requested_at is not None:
            return
        if job.fence == 0:
            kept.change(
                now, state=JobState.CANCELLED, cancel_requested_at=now, completed_at=now, status_message=CANCELLED_EARLY
            )  # fmt: skip
            self._shelves.unlock_sites(job.job_id, is_completed=False, now=now)
            self._shelves.change_clone(job.clone_id if job.kind is JobKind.CLONE else None, now, state=CloneState.FAILED)
            return
        kept.rung_until = now
        kept.change(now, cancel_requested_at=now, next_run_at=min(job.next_run_at, now))

    def _deletion(self, clone: Clone, new: NewJob, now: datetime) -> Job:
        shelves = self._shelves
        making = shelves.jobs.get(clone.clone_id)
        if clone.state is CloneState.CREATING and making is not None and not making.job.state.is_terminal:
            self._cancel(making, now)
            return making.job
        for kept in shelves.jobs.values():
            if kept.job.kind is JobKind.DELETE and kept.job.clone_id == clone.clone_id and not kept.job.state.is_terminal:
                return kept.job
        if shelves.is_read(clone.clone_id):
            raise CloneInUse
        shelves.change_clone(clone.clone_id, now, state=CloneState.DELETING)
        return shelves.add_job(new, now)


def hold_clone(shelves: Shelves, clone_id: str, customer_id: str, now: datetime) -> None:
    """Raise CloneNotFound or CloneNotReady when no job of this customer may read the clone now."""
    clone = shelves.clones.get(clone_id)
    if clone is None or clone.customer_id != customer_id or clone.state is CloneState.DELETED:
        raise CloneNotFound
    if clone.state is not CloneState.READY or clone.expires_at is None or clone.expires_at <= now:
        raise CloneNotReady


def check_limits(shelves: Shelves, customer: Customer, new: NewJob, clone: NewClone | None, now: datetime) -> None:
    """Raise LimitReached when this job, or its clone, is one too many."""
    limits = customer.limits
    if limits.requests_per_minute is not None:
        recent = sorted(
            kept.job.created_at
            for kept in shelves.jobs.values()
            if kept.job.customer_id == customer.customer_id
            and kept.job.kind is not JobKind.DELETE
            and kept.job.created_at > now - _MINUTE
        )
        if len(recent) >= limits.requests_per_minute:
            frees = recent[-limits.requests_per_minute] + _MINUTE if limits.requests_per_minute > 0 else now + _MINUTE
            raise LimitReached(
                f"{limits.requests_per_minute} requests a minute are allowed.", retry_after=frees - now,
                metadata={"limit": "requests_per_minute"},
            )  # fmt: skip
    if limits.live_clones is not None and clone is not None:
        live = sum(c.customer_id == customer.customer_id and c.state in LIVE for c in shelves.clones.values())
        if live >= limits.live_clones:
            raise LimitReached(
                f"{limits.live_clones} clones at a time are allowed.", retry_after=_MINUTE, metadata={"limit": "live_clones"}
            )
