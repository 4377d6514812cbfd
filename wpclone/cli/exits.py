"""How `wpclone` ends: the exit codes, and the one table from a reason to its code. `docs/cli.md` shows both; a test compares.

Reasons are the service's words (`wpclone.v2.ErrorReason`), plus the few the client makes when nobody answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """An exit code; each says what a script may do next. Stable."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        """A member that is its code and carries its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "done; for a watched or awaited job: it completed"
    JOB_FAILED = 1, "the job failed; its step and reason are on stderr"
    USAGE = 2, "wrong options, or the service refused the request's fields"
    CANCELLED = 3, "the job was cancelled"
    STILL_RUNNING = 4, "the time given to wait is over; the job goes on"
    ACCESS = 5, "no token, or one that may not do that"
    UNREACHABLE = 6, "the service does not answer, also after tries; try again"
    NOT_FOUND = 7, "no such job or clone, or somebody else's"
    WRONG_STATE = 8, "the job or clone is not in a state that allows this"
    LIMIT = 9, "a limit of this customer is reached; try again later"
    INTERNAL = 10, "a fault in the service or in this program"
    SOME_FAILED = 11, "of several clones some completed and some did not"
    NOT_HERE = 12, "this installation or machine lacks what the command needs"
    SITE = 13, "a WordPress site does not allow what the command asks of it"
    DETACHED = 130, "Ctrl-C: the command let go; the job goes on"
    UNREAD = 141, "nobody reads the output any more, as for programs that SIGPIPE ends; the job goes on"


EXITS: dict[str, Exit] = {
    "INVALID_REQUEST": Exit.USAGE,
    "UNAUTHENTICATED": Exit.ACCESS,
    "PERMISSION_DENIED": Exit.ACCESS,
    "NOT_FOUND": Exit.NOT_FOUND,
    "JOB_NOT_FOUND": Exit.NOT_FOUND,
    "CLONE_NOT_FOUND": Exit.NOT_FOUND,
    "CUSTOMER_NOT_FOUND": Exit.NOT_FOUND,
    "REQUEST_ID_REUSED": Exit.WRONG_STATE,
    "WRONG_STATE": Exit.WRONG_STATE,
    "CLONE_NOT_READY": Exit.WRONG_STATE,
    "JOB_FINISHED": Exit.WRONG_STATE,
    "CLONE_IN_USE": Exit.WRONG_STATE,
    "SITE_BUSY": Exit.WRONG_STATE,
    "NOTHING_KEPT": Exit.WRONG_STATE,
    "JOB_NOT_RETRYABLE": Exit.WRONG_STATE,
    "LIMIT_REACHED": Exit.LIMIT,
    "STORE_UNAVAILABLE": Exit.UNREACHABLE,
    "BUS_UNAVAILABLE": Exit.UNREACHABLE,
    "SHUTTING_DOWN": Exit.UNREACHABLE,
    "UNREACHABLE": Exit.UNREACHABLE,
    "TIMED_OUT": Exit.UNREACHABLE,
    "UNIMPLEMENTED": Exit.NOT_HERE,
    "SETTINGS_WRONG": Exit.NOT_HERE,
    "KEY_RING_UNUSABLE": Exit.NOT_HERE,
    "STORE_MISCONFIGURED": Exit.NOT_HERE,
    "STALE_CLAIM": Exit.INTERNAL,
    "STEP_OUTCOME": Exit.INTERNAL,
    "SECRETS_UNREADABLE": Exit.INTERNAL,
    "STORE_REFUSED": Exit.INTERNAL,
    "INTERNAL": Exit.INTERNAL,
}
"""The code for a refused or failed call. A reason that ends a job has no line here: the job's own state decides."""

_JOB_ENDS = {"completed": Exit.OK, "failed": Exit.JOB_FAILED, "cancelled": Exit.CANCELLED}


def exit_of_reason(reason: str) -> Exit:
    """The exit code for a failed call; a reason this version does not know is a fault somewhere."""
    return EXITS.get(reason, Exit.INTERNAL)


def exit_of_job(status: str) -> Exit:
    """The exit code for a job in this status (`Job.status`); a job that isn't finished is `STILL_RUNNING`."""
    return _JOB_ENDS.get(status, Exit.STILL_RUNNING)


def exit_of_several(ends: Sequence[Exit]) -> Exit:
    """One code for many clones: the one they share; `SOME_FAILED` when some completed and some did not; else `JOB_FAILED`."""
    if len(set(ends)) == 1:
        return ends[0]
    return Exit.SOME_FAILED if Exit.OK in ends else Exit.JOB_FAILED
