"""What an exception from a step means: try later, give up, or a bug. The one place where foreign errors become outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from wpclone.core.jobs.errors import Fatal, RetryLater, StepOutcome
from wpclone.core.jobs.job import JobError
from wpclone.wordpress.errors import SiteError


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, whether another may help, and how long to wait at least."""

    error: JobError
    is_final: bool
    after: timedelta | None = None
    is_bug: bool = False


def judge(error: BaseException, *, step: str) -> Failure:
    """The meaning of what a step raised. Anything unknown is a bug: retried within limits, and never shown to users."""
    if isinstance(error, RetryLater):
        return Failure(_told(error, step), is_final=False, after=error.after)
    if isinstance(error, Fatal):
        return Failure(_told(error, step), is_final=True)
    if isinstance(error, SiteError):
        told = JobError(error.message, error.reason.value, step, dict(error.metadata))
        after = timedelta(seconds=error.retry_after) if error.retry_after else None
        return Failure(told, is_final=not error.transient, after=after)
    sentence = "The service made a mistake in this step; its operators can find it in the logs."
    return Failure(JobError(sentence, "INTERNAL", step), is_final=False, is_bug=True)


def overdue(step: str, seconds: float) -> Failure:
    """The step was cut by its own deadline."""
    sentence = f"The step {step} did not finish within {seconds:.0f} seconds."
    return Failure(JobError(sentence, "STEP_DEADLINE_EXCEEDED", step), is_final=False)


def _told(error: StepOutcome, step: str) -> JobError:
    return JobError(error.message, error.code, step, dict(error.metadata))
