"""The words a job and a clone can be in, and the one table of what may follow what."""

from enum import StrEnum


class JobKind(StrEnum):
    """What was asked for; the value is `Job.type`."""

    CLONE = "clone"
    RESTORE = "restore"
    DELETE = "delete"


class JobState(StrEnum):
    """Where a job is; the value is `Job.status`."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this state never changes again."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # A pending job with a verdict (its undo waits for a retry) may also become failed or cancelled, by way of running.
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.RUNNING, JobState.PENDING, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""The only list of which state may follow which; the store's guarded UPDATE and the property tests both read it."""


class Verdict(StrEnum):
    """The decision, written before anything is undone, that a job will not complete."""

    FAIL = "fail"
    CANCEL = "cancel"


class StepState(StrEnum):
    """Where one step of a job is."""

    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


class CloneState(StrEnum):
    """Where a clone is in its life."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    DELETED = "deleted"
    FAILED = "failed"


class KeptState(StrEnum):
    """Where the old content is that a restore put aside at its target."""

    KEPT = "kept"
    LEAVING = "leaving"
    ROLLED_BACK = "rolled_back"
    RELEASED = "released"


class Priority(StrEnum):
    """Which of the three queues a job is rung in; workers poll them 8:3:1."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
