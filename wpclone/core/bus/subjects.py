"""The subjects on the bus, in one place."""

from wpclone.core.jobs.states import Priority

STREAM = "JOBS"
RUN = "jobs.run.*"
EVENTS = "jobs.event.*"
CANCELS = "jobs.cancel.*"


def run(priority: Priority) -> str:
    """Where jobs of this priority are rung."""
    return f"jobs.run.{priority.value}"


def event(job_id: str) -> str:
    """Where a job's public view is told at each revision: {job_id, revision, terminal}."""
    return f"jobs.event.{job_id}"


def cancel(job_id: str) -> str:
    """Where a request to cancel a running job is told, so that its worker need not wait for the next renewal."""
    return f"jobs.cancel.{job_id}"


def consumer(priority: Priority) -> str:
    """The durable consumer's name."""
    return f"workers-{priority.value}"
