"""Reading and trimming in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from wpclone.core.jobs.errors import JobNotFound
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobKind, JobState, KeptState, StepState
from wpclone.core.store import GONE, PAST_RUNS, REQUESTS_KEPT, Page, PastRun
from wpclone.core.store.memory.shelves import Part


class Reads(Part):
    """Questions, and the trimming of what nobody asks about any more."""

    async def get_job(self, job_id: str) -> Job | None:
        """See JobStore.get_job."""
        self._shelves.now()
        kept = self._shelves.jobs.get(job_id)
        return kept.job if kept is not None else None

    async def get_jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """See JobStore.get_jobs."""
        self._shelves.now()
        return {job_id: self._shelves.jobs[job_id].job for job_id in job_ids if job_id in self._shelves.jobs}

    async def list_jobs(
        self, *, customer_id: str | None, page: Page, state: JobState | None = None, kind: JobKind | None = None
    ) -> list[Job]:
        """See JobStore.list_jobs."""
        self._shelves.now()
        wanted = [
            replace(kept.job, steps=())
            for kept in self._shelves.jobs.values()
            if (customer_id is None or kept.job.customer_id == customer_id)
            and (state is None or kept.job.state is state)
            and (kind is None or kept.job.kind is kind)
            and (page.after is None or (kept.job.created_at, kept.job.job_id) < page.after)
        ]
        wanted.sort(key=lambda job: (job.created_at, job.job_id), reverse=True)
        return wanted[: page.size]

    async def past_runs(self, kind: JobKind) -> list[PastRun]:
        """See JobStore.past_runs."""
        self._shelves.now()
        completed = [
            kept.job for kept in self._shelves.jobs.values() if kept.job.kind is kind and kept.job.state is JobState.COMPLETED
        ]
        completed.sort(key=lambda job: (job.completed_at, job.job_id), reverse=True)
        return [run for run in map(_past_run, completed[:PAST_RUNS]) if run.seconds]

    async def needs_attention(self) -> int:
        """See JobStore.needs_attention."""
        self._shelves.now()
        return sum(kept.job.needs_attention for kept in self._shelves.jobs.values())

    async def attended(self, job_id: str) -> Job:
        """See JobStore.attended."""
        now, kept = self._shelves.now(), self._shelves.jobs.get(job_id)
        if kept is None:
            raise JobNotFound
        return kept.change(now, needs_attention=False) if kept.job.needs_attention else kept.job

    async def prune(self, *, older_than: timedelta, most: int) -> int:
        """See JobStore.prune."""
        shelves, now = self._shelves, self._shelves.now()
        for key in [key for key, asked in shelves.requests.items() if asked.at <= now - REQUESTS_KEPT]:
            del shelves.requests[key]
        old = sorted(
            (kept.job.completed_at, job_id)
            for job_id, kept in shelves.jobs.items()
            if kept.job.completed_at is not None and self._may_go(kept.job, now - older_than)
        )
        for _, job_id in old[:most]:
            del shelves.jobs[job_id]
            shelves.clones.pop(job_id, None)
            shelves.aside.pop(job_id, None)
            for key in [key for key, asked in shelves.requests.items() if asked.resource_id == job_id]:
                del shelves.requests[key]
        return len(old[:most])

    def _may_go(self, job: Job, before: datetime) -> bool:
        if job.completed_at is None or job.completed_at >= before or job.needs_attention:
            return False
        aside = self._shelves.aside.get(job.job_id)
        if aside is not None and aside.state in {KeptState.KEPT, KeptState.LEAVING}:
            return False
        clone = self._shelves.clones.get(job.clone_id or "")
        return clone is None or clone.state in GONE


def _past_run(job: Job) -> PastRun:
    done = [step for step in job.steps if step.state is StepState.DONE]
    seconds = {
        step.name: (step.finished_at - step.started_at).total_seconds()
        for step in done
        if step.started_at is not None and step.finished_at is not None
    }
    return PastRun(seconds, next((step.facts["site_bytes"] for step in done if "site_bytes" in step.facts), None))
