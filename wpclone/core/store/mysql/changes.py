"""Claims and transitions in MySQL: every write of a worker is one guarded UPDATE under its fence."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import structlog

from wpclone.core.jobs.errors import StaleClaim, StoreUnavailable
from wpclone.core.jobs.job import Claim, Job, Renewal
from wpclone.core.jobs.states import JobState
from wpclone.core.jobs.transitions import CloneChange, Transition
from wpclone.core.jobs.view import error_view, rfc3339
from wpclone.core.store import KEPT_AGAIN, LEASE
from wpclone.core.store.mysql.database import MATCHED, Result, Session, Unmatched
from wpclone.core.store.mysql.part import Part
from wpclone.core.store.mysql.rows import (
    JOB_THEN_STEPS,
    NEWS_OF_JOB,
    NEWS_OF_STEPS,
    NOW,
    known_job_from,
    locked_job_from,
    message,
    naive,
    step_values,
    to_json,
)

log = structlog.get_logger()

CLAIMABLE = f"""(jobs.status = 'pending' AND (jobs.next_run_at <= {NOW} OR jobs.deadline_at <= {NOW})
    OR jobs.status = 'running' AND NOT EXISTS (
      SELECT 1 FROM claims WHERE claims.job_id = jobs.job_id AND claims.lease_until >= {NOW}))"""
# Assignments run from left to right: `lapses` must see the old status. The fence is this statement's LAST_INSERT_ID.
_TAKE = f"""UPDATE jobs SET fence = LAST_INSERT_ID(fence + 1), lapses = lapses + (status = 'running'), status = 'running',
  revision = revision + 1, updated_at = {NOW}, rung_until = {NOW}, waits_for_cap = 0
  WHERE job_id = %(job_id)s AND {CLAIMABLE}"""
_BELOW_ANY_CAP = """
  AND (kind = 'delete' OR status = 'running' OR verdict IS NOT NULL OR cancel_requested_at IS NOT NULL
    OR NOT EXISTS (SELECT 1 FROM customers c WHERE c.customer_id = jobs.customer_id AND c.running_jobs IS NOT NULL))"""
_HOLD = f"""INSERT INTO claims (job_id, worker, fence, lease_until)
  VALUES (%(job_id)s, %(worker)s, %(fence)s, {NOW} + INTERVAL %(lease)s SECOND)
  ON DUPLICATE KEY UPDATE worker = %(worker)s, fence = %(fence)s, lease_until = {NOW} + INTERVAL %(lease)s SECOND"""
_IS_CLAIMABLE = f"SELECT customer_id FROM jobs WHERE job_id = %(job_id)s AND {CLAIMABLE}"
_LOCK_CUSTOMER = "SELECT running_jobs FROM customers WHERE customer_id = %(customer_id)s FOR UPDATE"
_RUNNING = "SELECT COUNT(*) FROM jobs WHERE customer_id = %(customer_id)s AND status = 'running' AND kind <> 'delete'"
_WAIT = "UPDATE jobs SET waits_for_cap = 1 WHERE job_id = %(job_id)s AND status = 'pending'"

RENEW = f"""UPDATE claims SET lease_until = {NOW} + INTERVAL %(lease)s SECOND
  WHERE worker = %(worker)s AND job_id IN %(job_ids)s AND (job_id, fence) IN %(held)s"""
RENEWED = """SELECT c.job_id, c.fence, j.cancel_requested_at IS NOT NULL FROM claims c JOIN jobs j ON j.job_id = c.job_id
  WHERE c.worker = %(worker)s AND c.job_id IN %(job_ids)s"""

_KEEP_STEP = f"""INSERT INTO job_steps (job_id, name, position, state, attempts, started_at, finished_at, last_error, facts)
  VALUES (%(job_id)s, %(step_name)s, %(position)s, %(step_state)s, %(attempts)s, {NOW}, IF(%(finishes)s, {NOW}, NULL),
    %(step_error)s, COALESCE(%(step_facts)s, '{{}}'))
  ON DUPLICATE KEY UPDATE position = %(position)s, state = %(step_state)s, attempts = %(attempts)s,
    finished_at = IF(%(finishes)s, {NOW}, NULL), last_error = COALESCE(%(step_error)s, last_error),
    facts = COALESCE(%(step_facts)s, facts)"""
_KEEP_FOLLOWER = re.sub(r"%\((?!job_id)", "%(follower_", _KEEP_STEP)
_HELD = "SELECT job_id, fence FROM claims WHERE worker = %(worker)s"
_RELEASE = "DELETE FROM claims WHERE job_id = %(job_id)s"
UNLOCK_SITES = "DELETE FROM site_locks WHERE job_id = %(job_id)s"
KEEP_AGAIN = f"""UPDATE kept_sets SET state = 'kept', kept_until = GREATEST(kept_until, {NOW} + INTERVAL %(kept_again)s SECOND)
  WHERE leaving_by = %(job_id)s AND state = 'leaving'"""
_LEFT = "UPDATE kept_sets SET state = becomes WHERE leaving_by = %(job_id)s AND state = 'leaving'"
_PUT_ASIDE = """INSERT INTO kept_sets (job_id, site_key, state, since, kept_until)
  SELECT job_id, site_key, 'kept', %(kept_since)s, %(kept_until)s FROM site_locks WHERE job_id = %(job_id)s"""
_KEPT_UNTIL = f"SELECT {NOW}, {NOW} + INTERVAL %(keep_for)s SECOND"
_CAP = "SELECT c.customer_id, c.running_jobs FROM jobs j JOIN customers c USING (customer_id) WHERE j.job_id = %(job_id)s"
_EXPIRES = f"""SELECT {NOW} AS ready_at, {NOW} + INTERVAL c.ttl_seconds SECOND AS expires_at
  FROM jobs j JOIN clones c ON c.clone_id = j.clone_id WHERE j.job_id = %(job_id)s"""
_WHY = "SELECT fence, status, cancel_requested_at IS NOT NULL FROM jobs WHERE job_id = %(job_id)s"
_WAKE = f"""UPDATE jobs SET rung_until = {NOW}, waits_for_cap = 0
  WHERE customer_id = %(customer_id)s AND status = 'pending' AND waits_for_cap = 1
  ORDER BY FIELD(priority, 'high', 'normal', 'low'), next_run_at, job_id LIMIT 1"""

_SETS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "status_message": ("%(status_message)s", message),
    "progress": ("GREATEST(progress, %(progress)s)", int),
    "attempt": ("%(attempt)s", int),
    "needs_attention": ("%(needs_attention)s", int),
    "verdict": ("%(verdict)s", lambda verdict: verdict.value if verdict is not None else None),
    "error": ("%(error)s", lambda error: to_json(error_view(error))),
    "result": ("%(result)s", to_json),
    "estimated_completion": ("%(estimated_completion)s", lambda time: naive(time) if time is not None else None),
}
"""The columns a transition may set: the expression, and how the value is written. Progress never falls."""

_ON_THE_WAY = frozenset({"status_message", "progress", "attempt"})
"""What changes while a job goes on; NEWS_OF_JOB reads it back."""


class Changes(Part):
    """What workers do to jobs."""

    async def claim(self, job_id: str, *, worker: str) -> Claim | None:
        """See JobStore.claim."""
        claim = await self._db.transact(lambda session: _take(session, job_id, worker, _TAKE + _BELOW_ANY_CAP))
        # Under a cap: whoever must wait says so first and counts again then. A job that ends between the two sees who waits
        # or is seen as ended, so that nobody waits for a free slot.
        for _ in range(2):
            if claim is not None:
                return claim
            (found,) = await self._db.read(_IS_CLAIMABLE, job_id=job_id)
            if not found.rows:
                return None
            customer_id = found.rows[0][0]
            claim = await self._db.transact(lambda session, c=customer_id: _take_below_cap(session, job_id, worker, c))  # type: ignore[misc]
        return claim

    async def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """See JobStore.renew."""
        if not fences:
            return []
        _, found = await self._db.read(RENEW, RENEWED, **renewal_values(worker, fences))
        return renewals_from(found.rows, fences)

    async def claims_of(self, worker: str) -> dict[str, int]:
        """See JobStore.claims_of."""
        (found,) = await self._db.read(_HELD, worker=worker)
        return {job_id: int(fence) for job_id, fence in found.rows}

    async def apply(self, transition: Transition) -> Job:
        """See JobStore.apply."""
        known = transition.known
        if known is not None and _goes_on(transition):
            try:
                return await self._db.transact(lambda session: _apply_known(session, transition, known), repeatable=True)
            except Unmatched:
                log.debug("store.outrun", job_id=known.job_id, revision=known.revision)
        job, cap_of = await self._db.transact(lambda session: _apply(session, transition))
        if cap_of is not None:
            await self._wake(cap_of)
        return job

    async def _wake(self, customer_id: str) -> None:
        """Make the next job that waits for the cap due; the relay rings it later anyway, so a failure here is harmless."""
        try:
            await self._db.transact(lambda session: session.run(_WAKE, commit=True, customer_id=customer_id))
        except StoreUnavailable as e:
            log.warning("store.wake_failed", customer_id=customer_id, reason=str(e))


def renewal_values(worker: str, fences: dict[str, int]) -> dict[str, Any]:
    """The parameters of RENEW and RENEWED."""
    return {"worker": worker, "job_ids": list(fences), "held": list(fences.items()), "lease": LEASE.total_seconds()}


def renewals_from(rows: Any, fences: dict[str, int]) -> list[Renewal]:
    """The claims of RENEWED that are still ours."""
    return [Renewal(job_id, fence, bool(cancel)) for job_id, fence, cancel in rows if fences.get(job_id) == fence]


async def _take(session: Session, job_id: str, worker: str, take: str) -> Claim | None:
    (taken,) = await session.run(take, job_id=job_id)
    if not taken.matched:
        return None
    held = {"job_id": job_id, "worker": worker, "fence": taken.last_id, "lease": LEASE.total_seconds()}
    claimed, job, steps = await session.run(_HOLD, *JOB_THEN_STEPS, commit=True, **held)
    # A release deletes the row, so one that is there lapsed. MySQL counts 2 for an update here, 1 for an insert.
    return Claim(locked_job_from(job.rows, steps.rows), worker, taken.last_id, lapsed=claimed.matched == 2)


async def _take_below_cap(session: Session, job_id: str, worker: str, customer_id: str) -> Claim | None:
    cap, running = await session.run(_LOCK_CUSTOMER, _RUNNING, customer_id=customer_id)
    limit = cap.rows[0][0] if cap.rows else None
    if limit is None or running.rows[0][0] < limit:
        return await _take(session, job_id, worker, _TAKE)
    await session.run(_WAIT, commit=True, job_id=job_id)
    return None


def _goes_on(transition: Transition) -> bool:
    return transition.target is JobState.RUNNING and _ON_THE_WAY.issuperset(transition.sets)


async def _apply_known(session: Session, transition: Transition, known: Job) -> Job:
    """The same for a job that goes on, in one packet with its COMMIT, when nobody has changed it since `known`.

    The revision makes one packet safe: one that arrives late, after its sender gave it up and wrote again, changes nothing. What
    is read back is what others, or an earlier write of ours whose answer was lost, may have changed. Raises Unmatched.
    """
    values: dict[str, Any] = {"job_id": transition.job_id, "revision": known.revision}
    statements = [_update(transition, dict(transition.sets), values) + " AND revision = %(revision)s", MATCHED]
    if transition.step is not None:
        statements.append(_KEEP_STEP)
        values |= step_values(transition.step)
    if transition.follower is not None:
        statements.append(_KEEP_FOLLOWER)
        values |= {f"follower_{name}": value for name, value in step_values(transition.follower).items()}
    statements += [NEWS_OF_JOB, NEWS_OF_STEPS]
    values["names"] = [step.name for step in transition.steps] or [""]
    *_, job, steps = await session.run(*statements, commit=True, **values)
    return known_job_from(known, job.rows[0], steps.rows)


async def _apply(session: Session, transition: Transition) -> tuple[Job, str | None]:
    """The job after the transition, and the customer whose cap this freed a slot of, if any."""
    values: dict[str, Any] = {"job_id": transition.job_id}
    change = transition.clone
    result = transition.sets.get("result")
    if change is not None and change.starts_ttl:
        (times,) = await session.run(_EXPIRES, **values)
        if times.rows:
            values["ready_at"], values["expires_at"] = times.rows[0]
            result = {**(result or {}), "expires_at": rfc3339(values["expires_at"].replace(tzinfo=UTC))}
    if transition.keeps is not None:
        (times,) = await session.run(_KEPT_UNTIL, keep_for=transition.keeps.keep_for.total_seconds())
        values["kept_since"], values["kept_until"] = times.rows[0]
        result = {**(result or {}), "rollback_until": rfc3339(values["kept_until"].replace(tzinfo=UTC))}
    sets = dict(transition.sets) | ({"result": result} if result is not None else {})
    statements = [_update(transition, sets, values)]
    if transition.step is not None:
        statements.append(_KEEP_STEP)
        values |= step_values(transition.step)
    if transition.follower is not None:
        statements.append(_KEEP_FOLLOWER)
        values |= {f"follower_{name}": value for name, value in step_values(transition.follower).items()}
    if change is not None:
        statements.append(_clone_update(change, values))
    if transition.releases:
        statements += [_CAP, _RELEASE]
    if transition.keeps is not None:
        statements.append(_PUT_ASIDE)
    if transition.target.is_terminal:
        statements += [_LEFT if transition.target is JobState.COMPLETED else KEEP_AGAIN, UNLOCK_SITES]
        values["kept_again"] = KEPT_AGAIN.total_seconds()
    changed, *others, job, steps = await session.run(*statements, *JOB_THEN_STEPS, **values)
    if not changed.matched:
        raise await _stale(session, transition)
    cap_of = _freed(others[statements.index(_CAP) - 1]) if transition.releases else None
    return locked_job_from(job.rows, steps.rows), cap_of


def _update(transition: Transition, sets: dict[str, Any], values: dict[str, Any]) -> str:
    """The guarded UPDATE; puts its parameters into `values`."""
    assignments = ["revision = revision + 1", f"updated_at = {NOW}", "status = %(target)s"]
    for column, value in sets.items():
        expression, written = _SETS[column]
        assignments.append(f"{column} = {expression}")
        values[column] = written(value)
    if transition.pause is not None:
        assignments += [f"next_run_at = {NOW} + INTERVAL %(pause)s SECOND", f"rung_until = {NOW}"]
        values["pause"] = max(transition.pause, timedelta(0)).total_seconds()
    if transition.target.is_terminal:
        assignments.append(f"completed_at = {NOW}")
    guard = "job_id = %(job_id)s AND fence = %(fence)s AND status IN %(sources)s"
    if transition.forbids_cancel:
        guard += " AND cancel_requested_at IS NULL AND verdict IS NULL"
    values |= {"target": transition.target.value, "fence": transition.fence, "sources": [s.value for s in transition.sources]}
    return f"UPDATE jobs SET {', '.join(assignments)} WHERE {guard}"


def _clone_update(change: CloneChange, values: dict[str, Any]) -> str:
    assignments = ["state = %(clone_state)s", f"updated_at = {NOW}"]
    values["clone_state"] = change.state.value
    for column, value in (("facts", to_json(change.facts)), ("url", change.url), ("admin_login", change.admin_login)):
        if value is not None:
            assignments.append(f"{column} = %(clone_{column})s")
            values[f"clone_{column}"] = value
    if "expires_at" in values:
        assignments += ["ready_at = %(ready_at)s", "expires_at = %(expires_at)s"]
    mine = "clone_id = (SELECT clone_id FROM jobs WHERE job_id = %(job_id)s)"
    return f"UPDATE clones SET {', '.join(assignments)} WHERE {mine}"


async def _stale(session: Session, transition: Transition) -> StaleClaim:
    (found,) = await session.run(_WHY, job_id=transition.job_id)
    sources = {source.value for source in transition.sources}
    for fence, status, cancel_requested in found.rows:
        if fence == transition.fence and status in sources and cancel_requested:
            return StaleClaim("Somebody asked to cancel this job.", metadata={"cancel_requested": "true"})
    return StaleClaim()


def _freed(cap: Result) -> str | None:
    for customer_id, running_jobs in cap.rows:
        return str(customer_id) if running_jobs is not None else None
    return None
