"""Accepting jobs in MySQL. The usual accept is one packet and one commit; limits and repeats take the longer way."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from datetime import timedelta

from wpclone.core.jobs.errors import CloneNotFound, CloneNotReady, CustomerNotFound, JobNotFound, LimitReached, StoreUnavailable
from wpclone.core.jobs.job import Customer, Job, NewClone, NewJob, RequestKey
from wpclone.core.store import FIRST_RING
from wpclone.core.store.mysql.database import Duplicate, Session
from wpclone.core.store.mysql.part import Part, job_in
from wpclone.core.store.mysql.requests import KEEP_WITH_JOB, answered, key_values
from wpclone.core.store.mysql.rows import (
    CUSTOMER_COLUMNS,
    INSERT_CLONE,
    INSERT_JOB,
    NOW,
    aware,
    customer_from,
    new_clone_values,
    new_job_values,
)

_TRIES = 3
_MINUTE = timedelta(minutes=1)
_UNLIMITED = INSERT_JOB + " AND requests_per_minute IS NULL"
_UNLIMITED_CLONE = _UNLIMITED + " AND live_clones IS NULL"
_ACCEPTED_AT = "SELECT created_at FROM jobs WHERE job_id = %(job_id)s"
_LOCK_CUSTOMER = f"SELECT {CUSTOMER_COLUMNS} FROM customers WHERE customer_id = %(customer_id)s FOR UPDATE"
_NTH_RECENT = f"""SELECT TIMESTAMPDIFF(MICROSECOND, {NOW}, created_at + INTERVAL 60 SECOND) FROM jobs
  WHERE customer_id = %(customer_id)s AND kind <> 'delete' AND created_at > {NOW} - INTERVAL 60 SECOND
  ORDER BY created_at DESC LIMIT 1 OFFSET %(older)s"""
# The lock keeps a deletion or the expiry of this clone out until the job that reads it is there to be seen.
_LOCK_CLONE = f"SELECT customer_id, state, expires_at > {NOW} FROM clones WHERE clone_id = %(clone_id)s FOR UPDATE"
_LIVE = "SELECT COUNT(*) FROM clones WHERE customer_id = %(customer_id)s AND state IN ('creating', 'ready', 'deleting')"


class Accepting(Part):
    """New jobs."""

    async def accept(self, new: NewJob, *, key: RequestKey | None = None, clone: NewClone | None = None) -> Job:
        """See JobStore.accept."""

        async def at_once(session: Session) -> Job | None:
            return await _insert(session, new, key, clone, limited=False)

        async def within_limits(session: Session) -> Job:
            known = await answered(session, key)
            if known is not None:
                return await job_in(session, known)
            await check_limits(session, new, clone)
            if new.reads_clone is not None:
                await hold_clone(session, new.reads_clone, new.customer_id)
            job = await _insert(session, new, key, clone, limited=True)
            if job is None:
                raise CustomerNotFound
            return job

        for _ in range(_TRIES):
            try:
                is_plain = new.reads_clone is None
                job = await self._db.transact(at_once, repeatable=True) if is_plain else None  # its own job is a Duplicate then
                return job if job is not None else await self._db.transact(within_limits)
            except Duplicate:
                job = await self._db.transact(lambda session: _first(session, new, key))
                if job is not None:
                    return job  # else the id of an outlived request was in the way, and is gone now
        raise StoreUnavailable


async def _insert(session: Session, new: NewJob, key: RequestKey | None, clone: NewClone | None, *, limited: bool) -> Job | None:
    """The job, its clone and its request in one packet, all or none; None when the customer is missing or has limits."""
    unlimited = _UNLIMITED if clone is None else _UNLIMITED_CLONE
    statements = [INSERT_JOB if limited else unlimited]
    values = new_job_values(new, FIRST_RING)
    if clone is not None:
        statements.append(INSERT_CLONE)
        values |= new_clone_values(clone)
    if key is not None:
        statements.append(KEEP_WITH_JOB)
        values |= key_values(key) | {"resource_id": new.job_id}
    inserted, *_, at = await session.run(*statements, _ACCEPTED_AT, commit=True, **values)
    return new.accepted(aware(at.rows[0][0])) if inserted.matched else None


async def _first(session: Session, new: NewJob, key: RequestKey | None) -> Job | None:
    """What was there before: the same request's job, or this very job, whose commit's reply was lost."""
    known = await answered(session, key)
    try:
        job = await job_in(session, known or new.job_id)
    except JobNotFound:
        return None
    if known is None and (job.customer_id, job.secrets) != (new.customer_id, new.secrets):
        raise StoreUnavailable("This id is taken; try again.")
    return job


async def hold_clone(session: Session, clone_id: str, customer_id: str) -> None:
    """Lock a clone that a job is to read. Raises CloneNotFound, also for another customer's, and CloneNotReady."""
    (found,) = await session.run(_LOCK_CLONE, clone_id=clone_id)
    if not found.rows or found.rows[0][0] != customer_id or found.rows[0][1] == "deleted":
        raise CloneNotFound
    if found.rows[0][1] != "ready" or not found.rows[0][2]:
        raise CloneNotReady


async def check_limits(session: Session, new: NewJob, clone: NewClone | None) -> Customer:
    """Lock the customer, so that two requests cannot both be the last one allowed."""
    (found,) = await session.run(_LOCK_CUSTOMER, customer_id=new.customer_id)
    if not found.rows:
        raise CustomerNotFound
    customer = customer_from(found.rows[0])
    a_minute, at_a_time = customer.limits.requests_per_minute, customer.limits.live_clones
    if a_minute is not None:
        await _check_rate(session, customer.customer_id, a_minute)
    if at_a_time is not None and clone is not None:
        (live,) = await session.run(_LIVE, customer_id=customer.customer_id)
        if live.rows[0][0] >= at_a_time:
            raise LimitReached(
                f"{at_a_time} clones at a time are allowed.", retry_after=_MINUTE, metadata={"limit": "live_clones"}
            )
    return customer


async def _check_rate(session: Session, customer_id: str, a_minute: int) -> None:
    if a_minute > 0:
        (nth,) = await session.run(_NTH_RECENT, customer_id=customer_id, older=a_minute - 1)
        if not nth.rows:
            return
        frees = timedelta(microseconds=nth.rows[0][0])
    else:
        frees = _MINUTE
    raise LimitReached(f"{a_minute} requests a minute are allowed.", retry_after=frees, metadata={"limit": "requests_per_minute"})
