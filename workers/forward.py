"""The way to completion: each step without a record is done and recorded, unless something condemns the job."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from workers.attempt import Cut, Limits
from workers.outcomes import Failure, without_cost
from workers.plans import PlannedStep
from workers.progress import Meter
from workers.record import Record
from workers.run import HandBack, Run, StepFailed
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StaleClaim
from wpclone.core.jobs.job import JobError, Step
from wpclone.core.jobs.states import StepState, Verdict

_log = structlog.get_logger(__name__)

MOST_LAPSES = 5
"""After so many lost leases the job itself is taken for what kills its workers."""


@dataclass
class Condemned(Exception):
    """The job gets its verdict; written before anything is undone."""

    verdict: Verdict
    error: JobError
    step: Step | None = None

    async def write(self, record: Record) -> None:
        """Record the verdict. From here on no worker does another step of this job."""
        undoing = "Cancelling" if self.verdict is Verdict.CANCEL else "Failed, cleaning up"
        message = f"{undoing}: {self.error.message}"
        transition = transitions.condemned(record.claim, self.verdict, self.error, self.step, status_message=message)
        await record.apply(transition)
        _log.info("job.condemned", job_id=record.job.job_id, verdict=self.verdict.value, reason=self.error.reason)


class Forward:
    """Takes one job from its first step without a record to completion."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._record = run.record
        self._claim = run.record.claim
        self._clock = run.tools.clock
        job = run.record.job
        # Both times are the database's, so no clock of ours is compared with its.
        self._ends = self._clock.monotonic() + (job.deadline_at - job.updated_at).total_seconds()

    async def to_completion(self) -> None:
        """Do what is left. Raises Condemned, HandBack, Paused, StaleClaim."""
        self._refuse_a_killer()
        begun: Step | None = None
        for position, planned in enumerate(self._run.plan.steps):
            if self._is_open(planned):
                self._obey()
                if begun is None:
                    begun = await self._begin(position, planned)
                    self._obey_cancel()  # one that came with the claim, before anybody could be told
                begun = await self._do(position, planned, begun)
        if not self._record.job.state.is_terminal:  # the record of the last step may have been the job's end
            self._obey_cancel()
            await self._complete()

    def _refuse_a_killer(self) -> None:
        lapses = self._record.job.lapses
        if lapses >= MOST_LAPSES:
            sentence = f"The worker of this job was lost {lapses} times; the job is given up."
            raise Condemned(Verdict.FAIL, JobError(sentence, "WORKER_LOST"))

    def _obey(self) -> None:
        self._obey_cancel()
        if self._clock.monotonic() >= self._ends:
            raise Condemned(Verdict.FAIL, _too_late(self._waits_for()))
        if self._run.orders.is_draining:
            raise HandBack("the worker is leaving")

    def _waits_for(self) -> JobError | None:
        """Why the step that comes next waits, if it has failed before."""
        rows = [self._record.step(planned.step.name) for planned in self._run.plan.steps]
        return next((row.last_error for row in rows if row is not None and row.state is StepState.WAITING), None)

    def _obey_cancel(self, step: Step | None = None) -> None:
        if self._run.orders.is_cancelled or self._record.job.cancel_requested_at is not None:
            raise Condemned(Verdict.CANCEL, JobError("The job was cancelled on request.", "CANCELLED"), step)

    async def _begin(self, position: int, planned: PlannedStep) -> Step:
        step = self._begun(position, planned)
        await self._record.apply(transitions.step_started(self._claim, step, status_message=planned.message))
        return step

    async def _do(self, position: int, planned: PlannedStep, step: Step) -> Step | None:
        """Do a step that has begun and record it; the step that began with that record, if one did."""
        name, attempt = planned.step.name, self._record.job.attempt + 1
        failpoints = self._run.tools.failpoints
        failpoints.hit(f"{name}.before_effect")
        try:
            facts = await self._attempt(planned, position, attempt)
        except Cut:
            self._obey_cancel(replace(step, state=StepState.FAILED))
            raise
        except StepFailed as failed:
            await self._failed(planned, step, failed.failure, attempt)
            return None
        failpoints.hit(f"{name}.after_effect")
        done = replace(step, state=StepState.DONE, facts=facts, last_error=None)
        follower = self._follower(position)
        if follower is None and await self._has_completed(done):
            failpoints.hit(f"{name}.after_record")
            return None
        transition = transitions.step_done(self._claim, done, progress=self._run.plan.scale.at(position, 1.0))
        if follower is not None and self._may_go_on():
            message = self._run.plan.steps[follower.position].message
            transition = transitions.step_followed(transition, follower, status_message=message)
        await self._record.apply(transition)
        failpoints.hit(f"{name}.after_record")
        return transition.follower

    async def _has_completed(self, last: Step) -> bool:
        """Record the last step and the job's end in one change; False when somebody asked to cancel: nothing is recorded then."""
        try:
            await self._complete(last)
        except Condemned:
            return False
        return True

    def _follower(self, position: int) -> Step | None:
        """The next step to do after this position, as it begins; None when there is none."""
        for later, planned in enumerate(self._run.plan.steps):
            if later > position and self._is_open(planned):
                return self._begun(later, planned)
        return None

    def _may_go_on(self) -> bool:
        """Whether nothing known here keeps the next step from beginning; what only the store knows is obeyed after the write."""
        orders = self._run.orders
        return not (orders.is_cancelled or orders.is_draining) and self._clock.monotonic() < self._ends

    def _is_open(self, planned: PlannedStep) -> bool:
        row = self._record.step(planned.step.name)
        return row is None or row.state is not StepState.DONE

    def _begun(self, position: int, planned: PlannedStep) -> Step:
        row = self._record.step(planned.step.name)
        if row is None:
            return Step(planned.step.name, position, StepState.RUNNING, attempts=1)
        was_handed_back = row.state is StepState.RUNNING and not self._claim.lapsed  # the same attempt goes on
        return replace(row, state=StepState.RUNNING, attempts=row.attempts + (not was_handed_back))

    async def _attempt(self, planned: PlannedStep, position: int, attempt: int) -> dict[str, object]:
        meter = Meter(self._progress, self._clock, scale=self._run.plan.scale, position=position)
        context = self._run.context(planned, attempt=attempt, retry=planned.retry, report=meter.report)
        seconds = min(planned.deadline.total_seconds(), self._ends - self._clock.monotonic())
        limits = Limits(max(0.0, seconds), resumable=planned.resumable)
        seconds_of = self._run.tools.metrics.step_seconds.labels(self._run.plan.kind.value, planned.step.name)
        begun = self._clock.monotonic()
        try:
            done = await self._run.attempt(planned, planned.step.do(context), limits=limits, meter=meter)
        finally:
            seconds_of.observe(self._clock.monotonic() - begun)
        return dict(done.facts)

    async def _progress(self, per_cent: int, message: str) -> None:
        transition = transitions.progressed(self._claim, progress=per_cent, status_message=message)
        await self._record.try_apply(transition)

    async def _failed(self, planned: PlannedStep, step: Step, failure: Failure, attempt: int) -> None:
        """Pause before the next attempt, or condemn the job."""
        free, failure = without_cost(step, failure, self._record.job.progress)
        failed = replace(step, state=StepState.FAILED, last_error=failure.error)
        if self._clock.monotonic() >= self._ends:
            raise Condemned(Verdict.FAIL, _too_late(failure.error), failed)
        if free:
            await self._run.wait_out(step, failure.error)
        if failure.is_final or planned.retry.is_exhausted(attempt):
            raise Condemned(Verdict.FAIL, failure.error, failed)
        await self._run.pause(step, failure, attempt=attempt, retry=planned.retry)

    async def _complete(self, last: Step | None = None) -> None:
        facts = self._record.facts if last is None else {**self._record.facts, last.name: last.facts}
        result, clone = self._run.plan.ending.completed(self._record.job, facts)
        completed = transitions.completed(self._claim, result=result, status_message="Completed", clone=clone, last=last)
        try:
            await self._record.apply(completed)
        except StaleClaim as stale:
            # The one refusal that is not a lost claim: somebody asked to cancel in the meantime, and wins.
            if stale.metadata.get("cancel_requested") == "true":
                self._run.orders.cancel()
                self._obey_cancel()
            raise


def _too_late(cause: JobError | None) -> JobError:
    """The deadline's error; it names what the step failed at last, if that was not time itself."""
    sentence = "The job did not finish before its deadline."
    if cause is None or cause.reason == "STEP_DEADLINE_EXCEEDED":
        return JobError(sentence, "DEADLINE_EXCEEDED", cause.step if cause is not None else "")
    sentence = f"{sentence[:-1]}; what kept it last: {cause.message}"
    return JobError(sentence, "DEADLINE_EXCEEDED", cause.step, {**cause.metadata, "cause": cause.reason})
