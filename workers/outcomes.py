"""What an exception from a step means: try later, give up, or a bug. The one place where foreign errors become outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from wpclone.core.jobs.errors import Fatal, RetryLater, StepOutcome
from wpclone.core.jobs.job import JobError, Step
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.target import LOST, NOT_CONNECTED

_CLONES_DATABASE = frozenset({Reason.TARGET_DATABASE_DOWN.value, "CLONES_DATABASE_UNAVAILABLE"})


class Outage(Enum):
    """How the clones' database was found to be away."""

    AWAY = "away"
    """No connection could be made."""
    LOST = "lost"
    """A connection was lost, or a statement got no answer: an outage begins so, but so does what makes the server crash."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, whether another may help, and how long to wait at least; `outage` when the fault was not its own."""

    error: JobError
    is_final: bool
    after: timedelta | None = None
    is_bug: bool = False
    outage: Outage | None = None


def judge(error: BaseException, *, step: str) -> Failure:
    """The meaning of what a step raised. Anything unknown is a bug: retried within limits, and never shown to users."""
    if isinstance(error, RetryLater):
        told = _told(error, step)
        return Failure(told, is_final=False, after=error.after, outage=_outage(told))
    if isinstance(error, Fatal):
        return Failure(_told(error, step), is_final=True)
    if isinstance(error, SiteError):
        told = JobError(error.message, error.reason.value, step, dict(error.metadata))
        after = timedelta(seconds=error.retry_after) if error.retry_after else None
        return Failure(told, is_final=not error.transient, after=after, outage=_outage(told))
    sentence = "The service made a mistake in this step; its operators can find it in the logs."
    return Failure(JobError(sentence, "INTERNAL", step), is_final=False, is_bug=True)


MOST_LOSSES = 20
"""How often a step may lose its connection to the clones' database, with no progress of the job in between, at no cost."""


def without_cost(step: Step, failure: Failure, progress: int) -> tuple[bool, Failure]:
    """Whether the step waits for the clones' database at the cost of no attempt; and the failure, with the losses counted.

    It does while no connection can be made, for as long as the job may take. A lost connection is how an outage begins, but it is
    also what a statement looks like that makes the server crash, so those without progress in between are counted: beyond
    MOST_LOSSES each is an attempt. The count lies in the details of the step's last error.
    """
    if failure.outage is None:
        return False, failure
    before = step.last_error.metadata if step.last_error is not None else {}
    losses = int(before.get("losses", "0")) if before.get("progress") == str(progress) else 0
    losses += failure.outage is Outage.LOST
    metadata = {**failure.error.metadata, "losses": str(losses), "progress": str(progress)}
    is_free = failure.outage is Outage.AWAY or losses <= MOST_LOSSES
    return is_free, replace(failure, error=replace(failure.error, metadata=metadata))


def overdue(step: str, seconds: float) -> Failure:
    """The step was cut by its own deadline."""
    sentence = f"The step {step} did not finish within {seconds:.0f} seconds."
    return Failure(JobError(sentence, "STEP_DEADLINE_EXCEEDED", step), is_final=False)


def _outage(error: JobError) -> Outage | None:
    number = error.metadata.get("error")
    if error.reason not in _CLONES_DATABASE:
        return None
    if number == NOT_CONNECTED:
        return Outage.AWAY
    # Any other number is an answer: the server is there. None at all: no answer in time.
    return Outage.LOST if number is None or int(number) in LOST else None


def _told(error: StepOutcome, step: str) -> JobError:
    return JobError(error.message, error.code, step, dict(error.metadata))
