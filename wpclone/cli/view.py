"""What a person sees of a job that is being watched. Pure: a job and the seconds since the start in, sentences out.

`fold` takes each revision and answers what is worth a line: another step, another attempt, a cancel, an end, and once in a while
a sign of life. A renderer draws the rest from the view itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from wpclone.client import TERMINAL
from wpclone.v2 import job_pb2

ONE_LINE_EVERY = 10.0
"""Seconds between two plain lines of the same step."""


@dataclass(frozen=True)
class View:
    """A job at one revision: what to draw, and what the last line was about and when (seconds)."""

    job_id: str
    status: str
    progress: int
    sentence: str
    topic: tuple[str, str, int, bool]
    said_at: float

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL


def fold(before: View | None, job: job_pb2.Job, *, seconds: float) -> tuple[View, str | None]:
    """The view after this revision, and a line for people or None when there is nothing new enough to say."""
    topic = (job.status, current_step(job), _attempts(job), job.HasField("cancel_requested_at"))
    is_news = before is None or topic != before.topic or seconds - before.said_at >= ONE_LINE_EVERY
    said_at = seconds if is_news or before is None else before.said_at
    view = View(job.job_id, job.status, job.progress, sentence(job), topic, said_at)
    return view, f"{job.progress:3d} %  {view.sentence}" if is_news else None


def sentence(job: job_pb2.Job) -> str:
    """One line that says where the job is."""
    if job.status == "failed":
        return f"failed: {job.error or job.status_message}"
    if job.status in TERMINAL:
        return job.status
    words = job.status_message or ("waiting for a worker" if job.status == "pending" else job.status)
    return f"{words} (cancelling)" if job.HasField("cancel_requested_at") else words


def current_step(job: job_pb2.Job) -> str:
    """The step that is worked on or waits for its next attempt, else the last one there is; empty before the first."""
    for step in job.steps:
        if step.status in ("running", "waiting"):
            return step.name
    return job.steps[-1].name if job.steps else ""


def failure(job: job_pb2.Job) -> tuple[str, ...]:
    """What to tell about a job that failed, beside its error sentence: the step, the reason, what was kept, what to do."""
    detail = job.error_detail
    where = f"step {detail.step}, " if detail.step else ""
    facts = tuple(f"{name}: {value}" for name, value in sorted(detail.metadata.items()))
    attention = ("something could not be undone: an operator must look at it",) if job.needs_attention else ()
    return (f"{where}reason {detail.reason}", *facts, *attention, f"details: wpclone job get {job.job_id}")


def _attempts(job: job_pb2.Job) -> int:
    name = current_step(job)
    return max((step.attempts for step in job.steps if step.name == name), default=0)
