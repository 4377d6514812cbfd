"""What the relay asks of the in-memory store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import JobState, Priority
from wpclone.core.store import PRIORITY_RANK, RING_AGAIN, QueueDepth, Share
from wpclone.core.store.memory.shelves import Kept, Part


class Rings(Part):
    """Jobs that should be rung."""

    async def due(self, *, per_customer: int, most: int, quiet: timedelta) -> list[Ring]:
        """See JobStore.due."""
        now = self._shelves.now()
        turns: dict[str, int] = defaultdict(int)
        candidates = [kept for kept in self._shelves.jobs.values() if kept.rung_until < now and self._is_due(kept, now, quiet)]
        candidates.sort(key=lambda k: (PRIORITY_RANK[k.job.priority], k.job.next_run_at, k.job.job_id))
        ranked = []
        for kept in candidates:
            turns[kept.job.customer_id] += 1
            if turns[kept.job.customer_id] <= per_customer:
                ranked.append((turns[kept.job.customer_id], kept))
        ranked.sort(key=lambda pair: pair[0])
        return [self._ring(kept, now) for _, kept in ranked[:most]]

    async def unring(self, job_ids: Sequence[str]) -> None:
        """See JobStore.unring."""
        now = self._shelves.now()
        for job_id in job_ids:
            if job_id in self._shelves.jobs:
                self._shelves.jobs[job_id].rung_until = now

    async def ring_all_again(self) -> int:
        """See JobStore.ring_all_again."""
        now = self._shelves.now()
        open_jobs = [kept for kept in self._shelves.jobs.values() if not kept.job.state.is_terminal]
        for kept in open_jobs:
            kept.rung_until = now
        return len(open_jobs)

    async def queue_depth(self) -> QueueDepth:
        """See JobStore.queue_depth."""
        now = self._shelves.now()
        runnable = [kept.job for kept in self._shelves.jobs.values() if self._is_due(kept, now, timedelta(0))]
        running = sum(kept.job.state is JobState.RUNNING for kept in self._shelves.jobs.values())
        oldest = min((job.next_run_at for job in runnable), default=now)
        return QueueDepth(len(runnable), running, max(0.0, (now - oldest).total_seconds()))

    async def shares(self) -> list[Share]:
        """See JobStore.shares."""
        now = self._shelves.now()
        waiting, running = Counter[tuple[str, Priority]](), Counter[tuple[str, Priority]]()
        for kept in self._shelves.jobs.values():
            whose = (kept.job.customer_id, kept.job.priority)
            waiting[whose] += self._may_start(kept, now)
            running[whose] += kept.job.state is JobState.RUNNING
        return [Share(*whose, waiting[whose], running[whose]) for whose in sorted(waiting) if waiting[whose] or running[whose]]

    async def next_waiting(self, customer_id: str, priority: Priority, *, but: Sequence[str]) -> str | None:
        """See JobStore.next_waiting."""
        now = self._shelves.now()
        waiting = [
            (kept.job.next_run_at, job_id)
            for job_id, kept in self._shelves.jobs.items()
            if (kept.job.customer_id, kept.job.priority) == (customer_id, priority)
            and job_id not in but
            and self._may_start(kept, now)
        ]
        return min(waiting)[1] if waiting else None

    def _may_start(self, kept: Kept, now: datetime) -> bool:
        return kept.job.state is JobState.PENDING and self._is_due(kept, now, timedelta(0)) and not kept.waits_for_cap

    def _is_due(self, kept: Kept, now: datetime, quiet: timedelta) -> bool:
        job = kept.job
        if job.state is JobState.PENDING:
            return job.next_run_at <= now or job.deadline_at <= now
        if job.state is not JobState.RUNNING:
            return False
        lease = self._shelves.leases.get(job.job_id)
        return lease is None or now - lease.until > quiet

    def _ring(self, kept: Kept, now: datetime) -> Ring:
        kept.rung_until = now + RING_AGAIN
        kept.job = replace(kept.job, enqueue_seq=kept.job.enqueue_seq + 1)
        priority = Priority.HIGH if kept.job.state is JobState.RUNNING else kept.job.priority
        return Ring(kept.job.job_id, kept.job.enqueue_seq, priority, kept.job.traceparent)
