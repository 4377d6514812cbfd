"""The way back: each step that has begun is undone, last first, and recorded; then the job ends as its verdict says."""

from __future__ import annotations

from dataclasses import replace

import structlog

from workers.attempt import Limits
from workers.outcomes import Failure
from workers.plans import PlannedStep
from workers.run import HandBack, Run, StepFailed
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import JobError, Step
from wpclone.core.jobs.states import StepState, Verdict

_log = structlog.get_logger(__name__)

GAVE_UP = "UNDO_GAVE_UP"
"""The reason in the row of a step whose undo has given up: a person has to look."""

MOST_LAPSES = 10
"""After so many lost leases even undoing is given up: it may be what kills the workers."""


class Backward:
    """Takes one condemned job to its terminal state."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._record = run.record
        self._claim = run.record.claim

    async def to_the_end(self) -> None:
        """Undo what is left and end the job. Raises HandBack, Paused, StaleClaim."""
        for planned in reversed(self._run.plan.steps):
            row = self._record.step(planned.step.name)
            if row is None or row.state is StepState.UNDONE or _gave_up(row):
                continue
            if self._record.job.lapses >= MOST_LAPSES:
                await self._give_up(row, JobError("Its worker was lost too often.", "WORKER_LOST", row.name))
                continue
            if self._run.orders.is_draining:
                raise HandBack("the worker is leaving")
            await self._undo(planned, row)
        await self._end()

    async def _undo(self, planned: PlannedStep, row: Step) -> None:
        attempt = self._record.job.attempt + 1
        failpoints = self._run.tools.failpoints
        context = self._run.context(planned, attempt=attempt, retry=planned.undo_retry, report=lambda _fraction, _message: None)
        limits = Limits(planned.undo_deadline.total_seconds(), cancellable=False)
        failpoints.hit(f"{row.name}.before_undo")
        try:
            await self._run.attempt(planned, planned.step.undo(context), limits=limits)
        except StepFailed as failed:
            await self._failed(planned, row, failed.failure, attempt)
            return
        failpoints.hit(f"{row.name}.after_undo")
        await self._record.apply(transitions.step_undone(self._claim, replace(row, state=StepState.UNDONE)))
        failpoints.hit(f"{row.name}.after_undo_record")

    async def _failed(self, planned: PlannedStep, row: Step, failure: Failure, attempt: int) -> None:
        if failure.is_final or planned.undo_retry.is_exhausted(attempt):
            await self._give_up(row, failure.error)
        else:
            await self._run.pause(row, failure, attempt=attempt, retry=planned.undo_retry)

    async def _give_up(self, row: Step, cause: JobError) -> None:
        """Record that this undo is left to people; the others still run."""
        sentence = f"What the step {row.name} made could not be removed: {cause.message}"
        error = JobError(sentence, GAVE_UP, row.name, {**cause.metadata, "cause": cause.reason})
        _log.error("undo.gave_up", job_id=self._record.job.job_id, step=row.name, cause=cause.reason)
        row = replace(row, state=StepState.FAILED, last_error=error)
        await self._record.apply(replace(transitions.step_undone(self._claim, row), name="undo_gave_up"))

    async def _end(self) -> None:
        job = self._record.job
        rows = [self._record.step(planned.step.name) for planned in self._run.plan.steps]
        needs_attention = any(row is not None and _gave_up(row) for row in rows)
        end = transitions.cancelled if job.verdict is Verdict.CANCEL else transitions.failed
        message = "Cancelled" if job.verdict is Verdict.CANCEL else f"Failed: {job.error.message if job.error else 'unknown'}"
        if needs_attention:
            message += " (some of it could not be removed and needs attention)"
        clone = self._run.plan.ending.given_up(job)
        await self._record.apply(end(self._claim, clone=clone, needs_attention=needs_attention, status_message=message))


def _gave_up(row: Step) -> bool:
    return row.last_error is not None and row.last_error.reason == GAVE_UP
