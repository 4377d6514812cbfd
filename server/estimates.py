"""When a job will probably be done: the usual durations of its steps that are still to come.

The durations are read from the store once a minute, not for each answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from wpclone.core.clock import Clock
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobKind, StepState
from wpclone.core.store import JobStore


class Estimates:
    """Knows how long the steps of each kind of job usually take."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seconds: dict[JobKind, dict[str, float]] = {}

    async def refresh(self) -> None:
        """Read the durations anew. Raises StoreUnavailable; then the old ones go on to serve."""
        for kind in JobKind:
            self._seconds[kind] = await self._store.step_seconds(kind)

    def completion(self, job: Job) -> datetime | None:
        """When the job will probably be done; None when unknown, final, being undone, or for what is short: a dry run, a
        rollback, a release."""
        if job.state.is_terminal or job.verdict is not None or job.cancel_requested_at is not None:
            return None
        if job.estimated_completion is not None:
            return job.estimated_completion
        usual = self._seconds.get(job.kind)
        if not usual or job.request.get("dry_run") or job.request.get("action"):
            return None
        now = self._clock.now()
        return max(now, job.next_run_at) + timedelta(seconds=_remaining(job, usual, now))


def _remaining(job: Job, usual: dict[str, float], now: datetime) -> float:
    """Seconds: all of the steps to come, and what is left of the one at work (none when it takes longer than usual)."""
    left = dict(usual)
    for step in job.steps:
        if step.state is StepState.DONE:
            left.pop(step.name, None)
        elif step.state is StepState.RUNNING and step.started_at is not None and step.name in left:
            left[step.name] = max(0.0, left[step.name] - (now - step.started_at).total_seconds())
    return sum(left.values())
