"""Ending things in MySQL: cancelling jobs, deleting clones, expiring them. Jobs are locked before their clones."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from wpclone.core.jobs.errors import (
    CloneInUse,
    CloneNotFound,
    CustomerNotFound,
    JobFinished,
    JobNotFound,
    StoreUnavailable,
    WrongState,
)
from wpclone.core.jobs.job import Clone, Job, NewJob, RequestKey
from wpclone.core.jobs.states import CloneState, JobKind, JobState
from wpclone.core.store import CANCELLED_EARLY, FIRST_RING, KEPT_AGAIN, NewJobFor
from wpclone.core.store.mysql.changes import KEEP_AGAIN, UNLOCK_SITES
from wpclone.core.store.mysql.database import Duplicate, Session
from wpclone.core.store.mysql.part import Part, job_in, job_of
from wpclone.core.store.mysql.requests import answered, keep
from wpclone.core.store.mysql.rows import CLONE_COLUMNS, INSERT_JOB, JOB_WITH_STEPS, NOW, clone_from, naive, new_job_values

_TRIES = 5
_LOCK_JOB = "SELECT job_id FROM jobs WHERE job_id = %(job_id)s FOR UPDATE"
_CANCEL_EARLY = f"""UPDATE jobs SET status = 'cancelled', revision = revision + 1, cancel_requested_at = {NOW},
  completed_at = {NOW}, updated_at = {NOW}, status_message = %(message)s
  WHERE job_id = %(job_id)s"""
_FAIL_CLONE = f"UPDATE clones SET state = 'failed', updated_at = {NOW} WHERE clone_id = %(clone_id)s"
_NOTE_CANCEL = f"""UPDATE jobs SET revision = revision + 1, cancel_requested_at = {NOW}, updated_at = {NOW}, rung_until = {NOW},
  next_run_at = LEAST(next_run_at, {NOW})
  WHERE job_id = %(job_id)s AND status IN ('pending', 'running') AND cancel_requested_at IS NULL"""
_CLONE = f"SELECT {CLONE_COLUMNS} FROM clones c WHERE c.clone_id = %(clone_id)s"
_DELETING = """SELECT job_id FROM jobs WHERE clone_id = %(clone_id)s AND kind = 'delete' AND status IN ('pending', 'running')
  ORDER BY created_at LIMIT 1"""
_IS_UNREAD = """NOT EXISTS (
    SELECT 1 FROM jobs r WHERE r.clone_id = c.clone_id AND r.kind = 'restore' AND r.status IN ('pending', 'running'))
  AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.reads_clone = c.clone_id AND r.status IN ('pending', 'running'))"""
_IS_READ = f"SELECT 1 FROM clones c WHERE c.clone_id = %(clone_id)s AND NOT ({_IS_UNREAD})"
# Judged again where the row is locked: a job that is to read a clone locks the clone's row until it is there.
_BEGIN = f"""UPDATE clones c SET c.state = 'deleting', c.updated_at = {NOW}
  WHERE c.clone_id = %(clone_id)s AND c.state = %(state)s AND c.updated_at = %(updated_at)s AND {_IS_UNREAD}"""
_EXPIRED = f"""SELECT {CLONE_COLUMNS} FROM clones c WHERE c.state = 'ready' AND c.expires_at <= {NOW} AND {_IS_UNREAD}
  ORDER BY c.expires_at, c.clone_id LIMIT %(most)s"""
_EXPIRE = f"""UPDATE clones c SET c.state = 'deleting', c.updated_at = {NOW}
  WHERE c.clone_id = %(clone_id)s AND c.state = 'ready' AND c.expires_at <= {NOW} AND {_IS_UNREAD}"""


class Deletions(Part):
    """Cancellations, deletions, expiry."""

    async def request_cancel(self, job_id: str, *, key: RequestKey | None = None) -> Job:
        """See JobStore.request_cancel."""

        async def work(session: Session) -> Job:
            known = await answered(session, key)
            if known is not None:
                return await job_in(session, known)
            job = await _locked(session, job_id)
            if job is None:
                raise JobNotFound
            if job.state.is_terminal and job.state is not JobState.CANCELLED:
                raise JobFinished
            if job.kind is JobKind.DELETE:
                raise WrongState("A deletion cannot be cancelled.")
            job = await _cancel(session, job)
            await keep(session, key, job_id)
            return job

        return await self._again(work)

    async def begin_delete(self, new: NewJob, *, key: RequestKey | None = None) -> Job:
        """See JobStore.begin_delete."""

        async def work(session: Session) -> Job | None:
            known = await answered(session, key)
            if known is not None:
                return await job_in(session, known)
            job = await _deletion(session, new)
            if job is not None:
                await keep(session, key, job.job_id)
            return job

        return await self._again(work)

    async def expire_due(self, make: NewJobFor, *, most: int) -> list[Job]:
        """See JobStore.expire_due."""
        (found,) = await self._db.read(_EXPIRED, most=most)
        begun = []
        for row in found.rows:
            clone = clone_from(row)
            new = make(clone)

            async def work(session: Session, new: NewJob = new, clone: Clone = clone) -> Job | None:
                (moved,) = await session.run(_EXPIRE, clone_id=clone.clone_id)
                if not moved.matched:
                    return None
                return await _insert(session, new)

            job = await self._db.transact(work)
            if job is not None:
                begun.append(job)
        return begun

    async def _again(self, work: Callable[[Session], Awaitable[Job | None]]) -> Job:
        """Run `work` until it neither lost a race for the request's key nor for the clone's state."""
        for _ in range(_TRIES):
            try:
                job = await self._db.transact(work)
            except Duplicate:
                continue
            if job is not None:
                return job
        raise StoreUnavailable


async def _locked(session: Session, job_id: str) -> Job | None:
    locked, found = await session.run(_LOCK_JOB, JOB_WITH_STEPS, job_id=job_id)
    return job_of(found) if locked.rows else None


async def _cancel(session: Session, job: Job) -> Job:
    """Cancel a locked job, at once while nobody has ever claimed it, else by asking its worker."""
    if job.state.is_terminal or job.cancel_requested_at is not None:
        return job
    early = [_CANCEL_EARLY, _FAIL_CLONE] if job.kind is JobKind.CLONE else [_CANCEL_EARLY, KEEP_AGAIN, UNLOCK_SITES]
    statements = early if job.fence == 0 else [_NOTE_CANCEL]
    values: dict[str, Any] = {"job_id": job.job_id, "clone_id": job.clone_id, "message": CANCELLED_EARLY}
    values["kept_again"] = KEPT_AGAIN.total_seconds()
    results = await session.run(*statements, JOB_WITH_STEPS, **values)
    return job_of(results[-1])


async def _deletion(session: Session, new: NewJob) -> Job | None:
    """The job that deletes the clone or undoes its making; None when the clone changed meanwhile."""
    found, deleting, read_by = await session.run(_CLONE, _DELETING, _IS_READ, clone_id=new.clone_id)
    clone = clone_from(found.rows[0]) if found.rows else None
    if clone is None or clone.customer_id != new.customer_id or clone.state is CloneState.DELETED:
        raise CloneNotFound
    if clone.state is CloneState.CREATING:
        making = await _locked(session, clone.clone_id)
        if making is not None and not making.state.is_terminal:
            return await _cancel(session, making)
    if clone.state is CloneState.DELETING and deleting.rows:
        return await job_in(session, deleting.rows[0][0])
    if read_by.rows:
        raise CloneInUse
    was: dict[str, Any] = {"clone_id": clone.clone_id, "state": clone.state.value, "updated_at": naive(clone.updated_at)}
    (moved,) = await session.run(_BEGIN, **was)
    return await _insert(session, new) if moved.matched else None


async def _insert(session: Session, new: NewJob) -> Job:
    inserted, found = await session.run(INSERT_JOB, JOB_WITH_STEPS, **new_job_values(new, FIRST_RING))
    if not inserted.matched:
        raise CustomerNotFound
    return job_of(found)
