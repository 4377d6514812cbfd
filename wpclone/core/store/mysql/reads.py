"""Reading and trimming in MySQL."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobKind, JobState
from wpclone.core.store import PAST_RUNS, REQUESTS_KEPT, Page, PastRun
from wpclone.core.store.mysql.database import Session
from wpclone.core.store.mysql.part import Part, job_in
from wpclone.core.store.mysql.rows import (
    JOB_COLUMNS,
    JOB_WITH_STEPS,
    JOBS_WITH_STEPS,
    NOW,
    job_from,
    jobs_from,
    naive,
)

_MANY = f"{JOBS_WITH_STEPS} WHERE j.job_id IN %(job_ids)s ORDER BY j.job_id, s.position"
_PAST_RUNS = """SELECT j.job_id, s.name, TIMESTAMPDIFF(MICROSECOND, s.started_at, s.finished_at),
    JSON_EXTRACT(s.facts, '$.site_bytes')
  FROM (SELECT job_id, completed_at FROM jobs WHERE kind = %(kind)s AND status = 'completed'
    ORDER BY completed_at DESC, job_id DESC LIMIT %(most)s) AS j
  JOIN job_steps s ON s.job_id = j.job_id WHERE s.state = 'done' ORDER BY j.completed_at DESC, j.job_id DESC"""
_OLD = f"""SELECT j.job_id FROM jobs j LEFT JOIN clones c ON c.clone_id = j.clone_id
  WHERE j.status IN ('completed', 'failed', 'cancelled') AND j.completed_at < {NOW} - INTERVAL %(age)s SECOND
    AND j.needs_attention = 0 AND (c.clone_id IS NULL OR c.state IN ('deleted', 'failed'))
    AND NOT EXISTS (SELECT 1 FROM kept_sets k WHERE k.job_id = j.job_id AND k.state IN ('kept', 'leaving'))
  ORDER BY j.completed_at, j.job_id LIMIT %(most)s"""
_ATTENDED = f"""UPDATE jobs SET needs_attention = 0, revision = revision + 1, updated_at = {NOW}
  WHERE job_id = %(job_id)s AND needs_attention = 1"""
_OLD_REQUESTS = f"DELETE FROM requests WHERE created_at <= {NOW} - INTERVAL %(kept)s SECOND LIMIT %(most)s"
_REMOVE = (
    "DELETE FROM job_steps WHERE job_id IN %(job_ids)s",
    "DELETE FROM requests WHERE resource_id IN %(job_ids)s",
    "DELETE FROM clones WHERE clone_id IN %(job_ids)s",
    "DELETE FROM kept_sets WHERE job_id IN %(job_ids)s",
    "DELETE FROM jobs WHERE job_id IN %(job_ids)s",
)


class Reads(Part):
    """Questions, and the trimming of what nobody asks about any more."""

    async def get_job(self, job_id: str) -> Job | None:
        """See JobStore.get_job."""
        (found,) = await self._db.read(JOB_WITH_STEPS, job_id=job_id)
        return jobs_from(found.rows).get(job_id)

    async def get_jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """See JobStore.get_jobs."""
        if not job_ids:
            return {}
        (found,) = await self._db.read(_MANY, job_ids=list(job_ids))
        return jobs_from(found.rows)

    async def list_jobs(
        self, *, customer_id: str | None, page: Page, state: JobState | None = None, kind: JobKind | None = None
    ) -> list[Job]:
        """See JobStore.list_jobs."""
        values: dict[str, object] = {"size": page.size}
        wanted = ["TRUE"]
        asked = (("customer_id", customer_id), ("status", state.value if state else None), ("kind", kind.value if kind else None))
        for column, value in asked:
            if value is not None:
                wanted.append(f"j.{column} = %({column})s")
                values[column] = value
        if page.after is not None:
            wanted.append("j.created_at <= %(at)s AND (j.created_at < %(at)s OR j.job_id < %(after)s)")
            values |= {"at": naive(page.after[0]), "after": page.after[1]}
        where = " AND ".join(wanted)
        (found,) = await self._db.read(
            f"SELECT {JOB_COLUMNS} FROM jobs j WHERE {where} ORDER BY j.created_at DESC, j.job_id DESC LIMIT %(size)s",
            **values,
        )
        return [job_from(row) for row in found.rows]

    async def past_runs(self, kind: JobKind) -> list[PastRun]:
        """See JobStore.past_runs."""
        (found,) = await self._db.read(_PAST_RUNS, kind=kind.value, most=PAST_RUNS)
        seconds: dict[str, dict[str, float]] = {}
        sizes: dict[str, int] = {}
        for job_id, name, microseconds, site_bytes in found.rows:
            seconds.setdefault(job_id, {})[name] = int(microseconds) / 1e6
            if site_bytes is not None:
                sizes[job_id] = int(site_bytes)
        return [PastRun(taken, sizes.get(job_id)) for job_id, taken in seconds.items()]

    async def needs_attention(self) -> int:
        """See JobStore.needs_attention."""
        (found,) = await self._db.read("SELECT COUNT(*) FROM jobs WHERE needs_attention = 1")
        return int(found.rows[0][0])

    async def attended(self, job_id: str) -> Job:
        """See JobStore.attended."""

        async def work(session: Session) -> Job:
            await session.run(_ATTENDED, job_id=job_id)
            return await job_in(session, job_id)

        return await self._db.transact(work)

    async def prune(self, *, older_than: timedelta, most: int) -> int:
        """See JobStore.prune."""
        await self._db.read(_OLD_REQUESTS, kept=REQUESTS_KEPT.total_seconds(), most=10 * most)

        async def work(session: Session) -> int:
            (old,) = await session.run(_OLD, age=older_than.total_seconds(), most=most)
            job_ids = [row[0] for row in old.rows]
            if job_ids:
                await session.run(*_REMOVE, commit=True, job_ids=job_ids)
            return len(job_ids)

        return await self._db.transact(work)

    async def now(self) -> datetime:
        """See JobStore.now."""
        (found,) = await self._db.read(f"SELECT {NOW}")
        at: datetime = found.rows[0][0]
        return at.replace(tzinfo=UTC)
