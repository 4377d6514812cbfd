"""What the relay asks of MySQL: which jobs to ring, marked under a row lock so that two relays never ring the same one."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority
from wpclone.core.store import RING_AGAIN, QueueDepth, Share
from wpclone.core.store.mysql.database import Session
from wpclone.core.store.mysql.part import Part
from wpclone.core.store.mysql.rows import NOW

_LONGEST = timedelta(days=36500)
_LAPSED = f"""NOT EXISTS (SELECT 1 FROM claims k
  WHERE k.job_id = j.job_id AND k.lease_until >= {NOW} - INTERVAL %(quiet)s SECOND)"""
_PENDING = f"(j.status = 'pending' AND (j.next_run_at <= {NOW} OR j.deadline_at <= {NOW}))"
_SHOULD_RUN = f"({_PENDING} OR (j.status = 'running' AND {_LAPSED}))"
_OPEN = "j.status IN ('pending', 'running')"
_URGENCY = "FIELD(j.priority, 'high', 'normal', 'low')"
_CANDIDATES = f"""SELECT job_id FROM (
    SELECT j.job_id, j.next_run_at, {_URGENCY} AS urgency,
      ROW_NUMBER() OVER (PARTITION BY j.customer_id ORDER BY {_URGENCY}, j.next_run_at, j.job_id) AS turn
    FROM jobs j WHERE {_OPEN} AND j.rung_until < {NOW} AND {_SHOULD_RUN}) AS ranked
  WHERE turn <= %(per_customer)s ORDER BY turn, urgency, next_run_at, job_id LIMIT %(most)s"""
_LOCK = f"""SELECT j.job_id, j.enqueue_seq, IF(j.status = 'running', 'high', j.priority), j.traceparent FROM jobs j
  WHERE j.job_id IN %(job_ids)s AND {_OPEN} AND j.rung_until < {NOW} AND {_SHOULD_RUN} FOR UPDATE SKIP LOCKED"""
_RING = f"""UPDATE jobs SET enqueue_seq = enqueue_seq + 1, rung_until = {NOW} + INTERVAL %(again)s SECOND
  WHERE job_id IN %(job_ids)s"""
_UNRING = f"UPDATE jobs SET rung_until = {NOW} WHERE job_id IN %(job_ids)s"
_ALL_AGAIN = f"UPDATE jobs j SET j.rung_until = {NOW} WHERE {_OPEN}"
_DEPTH = f"""SELECT COALESCE(SUM({_SHOULD_RUN}), 0), COALESCE(SUM(j.status = 'running'), 0),
    COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(IF({_SHOULD_RUN}, j.next_run_at, NULL)), {NOW}), 0)
  FROM jobs j WHERE {_OPEN}"""
_MAY_START = "j.waits_for_cap = 0"
_SHARES = f"""SELECT j.customer_id, j.priority, SUM({_PENDING} AND {_MAY_START}), SUM(j.status = 'running')
  FROM jobs j WHERE {_OPEN} GROUP BY j.customer_id, j.priority"""
_NEXT = f"""SELECT j.job_id FROM jobs j
  WHERE j.customer_id = %(customer_id)s AND j.priority = %(priority)s AND {_PENDING} AND {_MAY_START} AND j.job_id NOT IN %(but)s
  ORDER BY j.next_run_at, j.job_id LIMIT 1"""


class Rings(Part):
    """Jobs that should be rung."""

    async def due(self, *, per_customer: int, most: int, quiet: timedelta) -> list[Ring]:
        """See JobStore.due."""
        wanted = {"per_customer": per_customer, "most": most, "quiet": min(quiet, _LONGEST).total_seconds()}
        (found,) = await self._db.read(_CANDIDATES, **wanted)
        job_ids = [row[0] for row in found.rows]
        if not job_ids:
            return []
        rings = await self._db.transact(lambda session: _marked(session, job_ids, wanted["quiet"]))
        return [rings[job_id] for job_id in job_ids if job_id in rings]

    async def unring(self, job_ids: Sequence[str]) -> None:
        """See JobStore.unring."""
        if job_ids:
            await self._db.read(_UNRING, job_ids=list(job_ids))

    async def ring_all_again(self) -> int:
        """See JobStore.ring_all_again."""
        (rung,) = await self._db.read(_ALL_AGAIN)
        return rung.matched

    async def queue_depth(self) -> QueueDepth:
        """See JobStore.queue_depth."""
        (found,) = await self._db.read(_DEPTH, quiet=0)
        runnable, running, microseconds = found.rows[0]
        return QueueDepth(int(runnable), int(running), max(0.0, int(microseconds) / 1e6))

    async def shares(self) -> list[Share]:
        """See JobStore.shares."""
        (found,) = await self._db.read(_SHARES)
        shares = [Share(one, Priority(priority), int(waiting), int(running)) for one, priority, waiting, running in found.rows]
        return [share for share in shares if share.waiting or share.running]

    async def next_waiting(self, customer_id: str, priority: Priority, *, but: Sequence[str]) -> str | None:
        """See JobStore.next_waiting."""
        left_out = list(but) or [""]
        (found,) = await self._db.read(_NEXT, customer_id=customer_id, priority=priority.value, but=left_out)
        return str(found.rows[0][0]) if found.rows else None


async def _marked(session: Session, job_ids: list[str], quiet: float) -> dict[str, Ring]:
    """The rings of those jobs that nobody else is ringing now and that still should run."""
    (locked,) = await session.run(_LOCK, job_ids=job_ids, quiet=quiet)
    rings = {
        job_id: Ring(job_id, sequence + 1, Priority(priority), traceparent)
        for job_id, sequence, priority, traceparent in locked.rows
    }
    if rings:
        await session.run(_RING, commit=True, job_ids=list(rings), again=RING_AGAIN.total_seconds())
    return rings
