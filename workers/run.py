"""One job on one worker, as its two halves (`forward`, `undo`) share it."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog

from workers.attempt import Attempts, Cut, CutBy, Limits
from workers.failpoints import Failpoints
from workers.job_secrets import Decrypter, JobSecrets
from workers.orders import Orders
from workers.outcomes import Failure, judge, overdue
from workers.plans import Plan, PlannedStep
from workers.progress import Meter
from workers.record import Record
from workers.step import Report, StepContext
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import BusUnavailable, StaleClaim, StoreUnavailable
from wpclone.core.jobs.job import JobError, Step
from wpclone.core.jobs.retry import Chance, RetryPolicy
from wpclone.core.jobs.states import StepState
from wpclone.core.jobs.transitions import retry_later
from wpclone.core.metrics import Metrics
from wpclone.wordpress.errors import FencedOff

T = TypeVar("T")
_log = structlog.get_logger(__name__)

FENCED_OFF_PAUSE = timedelta(seconds=2)
"""How long a job waits whose effects were refused although its claim still looked good."""


OUTAGE_PAUSE = timedelta(seconds=1)
"""How long a job waits whose step met an outage of the store or the bus; no attempt is burnt by it."""


AWAY_PAUSE = timedelta(seconds=3)
"""How long a job waits at most until its step looks again whether the clones' database is back."""


class HandBack(Exception):
    """The job is to be given up for now, without burning an attempt or a lapse."""

    def __init__(self, why: str, pause: timedelta = timedelta(0)) -> None:
        super().__init__(why)
        self.pause = pause


class Paused(Exception):
    """The job waits for its next attempt; the claim is released."""


class StepFailed(Exception):
    """An attempt failed at the step's own work; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error.message)
        self.failure = failure


class RunTools(Protocol):
    """What the halves need of the runner's tools."""

    @property
    def keys(self) -> Decrypter:
        """The key ring."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def chance(self) -> Chance:
        """For jitter."""

    @property
    def failpoints(self) -> Failpoints:
        """Where tests may let things go wrong."""

    @property
    def metrics(self) -> Metrics:
        """Where to count."""


@dataclass(frozen=True)
class Run:
    """A claimed job with all that running it needs."""

    plan: Plan
    record: Record
    orders: Orders
    attempts: Attempts
    tools: RunTools

    def context(self, planned: PlannedStep, *, attempt: int, retry: RetryPolicy, report: Report) -> StepContext:
        """What the step is told."""
        job = self.record.job
        return StepContext(
            job=job,
            fence=self.record.claim.fence,
            facts=self.record.facts,
            secrets=JobSecrets(job, self.tools.keys),
            report=report,
            attempt=attempt,
            is_last_attempt=retry.is_exhausted(attempt),
        )

    async def attempt(
        self, planned: PlannedStep, work: Coroutine[Any, Any, T], *, limits: Limits, meter: Meter | None = None
    ) -> T:
        """One attempt at a step's work. Raises StepFailed for its own failures, HandBack when a draining worker cut it,
        Cut(ORDERS) when a cancel did, StaleClaim when the claim was seen to be lost."""
        job_id, name = self.record.job.job_id, planned.step.name
        try:
            return await self.attempts.run(work, job_id=job_id, limits=limits, orders=self.orders, meter=meter)
        except Cut as cut:
            if cut.by is CutBy.DEADLINE:
                raise StepFailed(overdue(name, limits.seconds)) from cut
            if limits.cancellable and self.orders.is_cancelled:
                raise
            raise HandBack("the worker is leaving") from cut
        except FencedOff as error:
            raise HandBack("a newer fence is at the target", FENCED_OFF_PAUSE) from error
        except StaleClaim:
            raise
        except (StoreUnavailable, BusUnavailable) as error:
            raise HandBack(error.message, OUTAGE_PAUSE) from error
        except Exception as error:
            failure = judge(error, step=name)
            if failure.outage is not None:
                _log.warning("step.waits", job_id=job_id, step=name, reason=failure.error.reason, error=failure.error.message)
            elif failure.is_bug:
                _log.exception("step.bug", job_id=job_id, step=name)
            else:
                _log.warning("step.failed", job_id=job_id, step=name, reason=failure.error.reason, error=failure.error.message)
            raise StepFailed(failure) from error

    async def wait_out(self, step: Step, error: JobError) -> None:
        """Record that the step waits for the clones' database, which costs it no attempt. Always raises Paused."""
        waiting = replace(step, state=StepState.WAITING, attempts=step.attempts - 1, last_error=error)
        pause = AWAY_PAUSE * (0.5 + 0.5 * self.tools.chance())
        await self.record.apply(
            retry_later(
                self.record.claim, waiting, attempt=self.record.job.attempt, pause=pause,
                status_message=f"Waiting for the clones' database: {error.message}",
            )
        )  # fmt: skip
        raise Paused

    async def pause(self, step: Step, failure: Failure, *, attempt: int, retry: RetryPolicy) -> None:
        """Record the failure and the time of the next attempt. Always raises Paused."""
        pause = retry.pause(attempt, self.tools.chance, asked=failure.after)
        self.tools.metrics.steps_retried.labels(self.plan.kind.value, step.name).inc()
        waiting = replace(step, state=StepState.WAITING, last_error=failure.error)
        await self.record.apply(
            retry_later(
                self.record.claim, waiting, attempt=attempt, pause=pause,
                status_message=f"Waiting to try again (attempt {attempt} of {retry.attempts}): {failure.error.message}",
            )
        )  # fmt: skip
        raise Paused
