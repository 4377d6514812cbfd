"""The errors of the service, one small tree. Each class has one reason; its docstring is the default message.

`server.status` maps a class (by its ancestors) to a gRPC code and `cli.exits` a reason to an exit code; tests check that
both tables are complete. Foreign exceptions become ours where they enter, chained with `from`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class WpcloneError(Exception):
    """Something went wrong."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str | None = None, *, metadata: Mapping[str, str] | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "").splitlines()[0]
        self.metadata = dict(metadata or {})
        super().__init__(self.message)


@dataclass(frozen=True)
class FieldViolation:
    """One bad field of a request: its path as the API spells it, and one sentence that says what would be right."""

    field: str
    description: str


class InvalidRequest(WpcloneError):
    """The request has fields that cannot be accepted."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in self.violations))


class Unauthenticated(WpcloneError):
    """A valid bearer token is needed: send `authorization: Bearer <token>`."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(WpcloneError):
    """This token may not do that."""

    reason = "PERMISSION_DENIED"


class NotFound(WpcloneError):
    """There is no such thing, or it belongs to somebody else."""

    reason = "NOT_FOUND"


class JobNotFound(NotFound):
    """There is no job with this id."""

    reason = "JOB_NOT_FOUND"


class CloneNotFound(NotFound):
    """There is no clone with this id."""

    reason = "CLONE_NOT_FOUND"


class CustomerNotFound(NotFound):
    """There is no customer with this id."""

    reason = "CUSTOMER_NOT_FOUND"


class TokenNotFound(NotFound):
    """There is no such token."""


class RequestIdReused(WpcloneError):
    """This request_id was used before with another body; use a new one."""

    reason = "REQUEST_ID_REUSED"


class WrongState(WpcloneError):
    """The thing is not in a state that allows this."""

    reason = "WRONG_STATE"


class CloneNotReady(WrongState):
    """The clone is not ready."""

    reason = "CLONE_NOT_READY"


class CloneInUse(WrongState):
    """Another job reads this clone; wait until it ends, or cancel it."""

    reason = "CLONE_IN_USE"


class SiteBusy(WrongState):
    """Another job writes this site now; wait until it ends."""

    reason = "SITE_BUSY"


class NothingKept(WrongState):
    """Nothing is kept of the site's old content any more: the restore was rolled back or released, or never changed the site."""

    reason = "NOTHING_KEPT"


class JobFinished(WrongState):
    """The job is finished already."""

    reason = "JOB_FINISHED"


class JobNotRetryable(WrongState):
    """Only a failed or cancelled job can be asked for again."""

    reason = "JOB_NOT_RETRYABLE"


class LimitReached(WpcloneError):
    """A limit of this customer is reached."""

    reason = "LIMIT_REACHED"

    def __init__(self, message: str | None = None, *, retry_after: timedelta, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, metadata=metadata)
        self.retry_after = retry_after


class StoreUnavailable(WpcloneError):
    """The job store does not answer now; try again."""

    reason = "STORE_UNAVAILABLE"


class BusUnavailable(WpcloneError):
    """The message bus does not answer now."""

    reason = "BUS_UNAVAILABLE"


class ShuttingDown(WpcloneError):
    """This server is going away; connect again."""

    reason = "SHUTTING_DOWN"


class StaleClaim(WpcloneError):
    """Another worker holds this job now, or it is finished; whoever sees this stops at once."""

    reason = "STALE_CLAIM"


class StepOutcome(WpcloneError):
    """How a step says what to do next; raised by steps and by what they call."""

    reason = "STEP_OUTCOME"

    def __init__(self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, metadata=metadata)
        self.code = reason


class RetryLater(StepOutcome):
    """The step could not do its work now; it is tried again within its limits."""

    def __init__(
        self, reason: str, message: str, *, after: timedelta | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.after = after


class Fatal(StepOutcome):
    """The step can never succeed; the job gets its verdict."""
