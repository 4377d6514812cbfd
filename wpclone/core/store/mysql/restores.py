"""Restores in MySQL: one writer per site, the clone they read held, and what they put aside at the target."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wpclone.core.jobs.errors import CustomerNotFound, NothingKept, SiteBusy, StoreUnavailable
from wpclone.core.jobs.job import Job, NewJob, RequestKey
from wpclone.core.jobs.states import KeptState
from wpclone.core.store import FIRST_RING
from wpclone.core.store.mysql.accepting import check_limits, hold_clone
from wpclone.core.store.mysql.database import Duplicate, Session
from wpclone.core.store.mysql.part import Part, job_in, job_of
from wpclone.core.store.mysql.requests import answered, keep
from wpclone.core.store.mysql.rows import INSERT_JOB, JOB_WITH_STEPS, JOBS_WITH_STEPS, NOW, jobs_from, new_job_values

Work = Callable[[Session], Awaitable[Job]]

_TRIES = 3
_LOCKED_BY = "SELECT job_id FROM site_locks WHERE site_key = %(site_key)s FOR UPDATE"
_LOCK_SITE = "INSERT INTO site_locks (site_key, job_id) VALUES (%(site_key)s, %(job_id)s)"
_LOCK_KEPT = "SELECT state, site_key, since FROM kept_sets WHERE job_id = %(of)s FOR UPDATE"
_NEWER = """SELECT COUNT(*) FROM kept_sets WHERE site_key = %(site_key)s AND since > %(since)s AND state IN ('kept', 'leaving')"""
_LEAVE = """UPDATE kept_sets SET state = 'leaving', becomes = %(becomes)s, leaving_by = %(job_id)s WHERE job_id = %(of)s"""
_STATE = "SELECT state FROM kept_sets WHERE job_id = %(job_id)s"
_DUE = f"SELECT job_id FROM kept_sets WHERE state = 'kept' AND kept_until <= {NOW} ORDER BY kept_until, job_id LIMIT %(most)s"


class Restores(Part):
    """Jobs that write sites which are not ours."""

    async def begin_restore(self, new: NewJob, *, site_key: str, key: RequestKey | None = None) -> Job:
        """See JobStore.begin_restore."""

        async def work(session: Session) -> Job:
            known = await answered(session, key)
            if known is not None:
                return await job_in(session, known)
            await check_limits(session, new, None)
            if new.clone_id is not None:
                await hold_clone(session, new.clone_id, new.customer_id)
            return await _begin(session, new, site_key, key)

        return await self._first_or_again(work)

    async def begin_leaving(
        self, new: NewJob, *, of: str, becomes: KeptState, site_key: str, key: RequestKey | None = None
    ) -> Job:
        """See JobStore.begin_leaving."""

        async def work(session: Session) -> Job:
            known = await answered(session, key)
            if known is not None:
                return await job_in(session, known)
            await _leave(session, new, of, becomes)
            return await _begin(session, new, site_key, key)

        return await self._first_or_again(work)

    async def kept_state(self, job_id: str) -> KeptState | None:
        """See JobStore.kept_state."""
        (found,) = await self._db.read(_STATE, job_id=job_id)
        return KeptState(found.rows[0][0]) if found.rows else None

    async def kept_due(self, *, most: int) -> list[Job]:
        """See JobStore.kept_due."""
        (due,) = await self._db.read(_DUE, most=most)
        job_ids = [row[0] for row in due.rows]
        if not job_ids:
            return []
        many = f"{JOBS_WITH_STEPS} WHERE j.job_id IN %(job_ids)s ORDER BY j.job_id, s.position"
        (found,) = await self._db.read(many, job_ids=job_ids)
        jobs = jobs_from(found.rows)
        return [jobs[job_id] for job_id in job_ids if job_id in jobs]

    async def _first_or_again(self, work: Work) -> Job:
        """Run `work`; when another call took its site or its request's key meanwhile, again, to see what is there now."""
        for _ in range(_TRIES):
            try:
                return await self._db.transact(work)
            except Duplicate:
                continue
        raise StoreUnavailable


async def _leave(session: Session, new: NewJob, of: str, becomes: KeptState) -> None:
    (found,) = await session.run(_LOCK_KEPT, of=of)
    if not found.rows or found.rows[0][0] != KeptState.KEPT.value:
        raise NothingKept
    _, site_key, since = found.rows[0]
    if becomes is KeptState.ROLLED_BACK:
        (newer,) = await session.run(_NEWER, site_key=site_key, since=since)
        if newer.rows[0][0]:
            raise NothingKept("A later restore of this site is kept too; roll that back, or release it, first.")
    await session.run(_LEAVE, of=of, becomes=becomes.value, job_id=new.job_id)


async def _begin(session: Session, new: NewJob, site_key: str, key: RequestKey | None) -> Job:
    (locked,) = await session.run(_LOCKED_BY, site_key=site_key)
    if locked.rows:
        raise SiteBusy
    inserted, found = await session.run(INSERT_JOB, JOB_WITH_STEPS, **new_job_values(new, FIRST_RING))
    if not inserted.matched:
        raise CustomerNotFound
    await session.run(_LOCK_SITE, site_key=site_key, job_id=new.job_id)
    await keep(session, key, new.job_id)
    return job_of(found)
