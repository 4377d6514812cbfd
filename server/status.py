"""The one table from our errors to gRPC's: code, ErrorInfo, BadRequest, RetryInfo, RequestInfo.

A class is looked up by its ancestors, so a new error needs a line only when its family has none. What is not ours, and what is
ours but internal, becomes INTERNAL with the request's id and nothing else: no text of an exception leaves this process.
"""

from __future__ import annotations

from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from server.render import DOMAIN
from wpclone.core.jobs import errors

LONGEST_MESSAGE = 1024
"""Characters. A status travels twice in the trailers, whose limit is 8 KB for some clients."""
LONGEST_DESCRIPTION = 200
MOST_VIOLATIONS = 20
MOST_METADATA = 16


class TimedOut(errors.WpcloneError):
    """The call took longer than it may."""

    reason = "TIMED_OUT"


CODES: dict[type[errors.WpcloneError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LimitReached: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.BusUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    TimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
}

INTERNAL = frozenset(
    {
        "INTERNAL",
        "KEY_RING_UNUSABLE",
        "SECRETS_UNREADABLE",
        "SETTINGS_WRONG",
        "STALE_CLAIM",
        "STEP_OUTCOME",
        "STORE_MISCONFIGURED",
        "STORE_REFUSED",
    }
)
"""The reasons of errors that have no line above on purpose: no client can do anything about them."""

RETRY_AFTER: dict[type[errors.WpcloneError], timedelta] = {
    errors.StoreUnavailable: timedelta(seconds=2),
    errors.BusUnavailable: timedelta(seconds=2),
    errors.ShuttingDown: timedelta(seconds=1),
}

_NUMBERS: dict[grpc.StatusCode, int] = {code: code.value[0] for code in grpc.StatusCode}


def code_of(error: BaseException) -> grpc.StatusCode:
    """The code of an error's nearest ancestor in the table; INTERNAL for strangers."""
    for ancestor in type(error).__mro__:
        if ancestor in CODES:
            return CODES[ancestor]
    return grpc.StatusCode.INTERNAL


def retry_after(error: BaseException) -> timedelta | None:
    """When the same call may be asked again, where that helps."""
    if isinstance(error, errors.LimitReached):
        return max(error.retry_after, timedelta(0))
    return next((RETRY_AFTER[ancestor] for ancestor in type(error).__mro__ if ancestor in RETRY_AFTER), None)


def status_of(error: BaseException, request_id: str) -> Status:
    """The whole status of an error."""
    code = code_of(error)
    if code is grpc.StatusCode.INTERNAL or not isinstance(error, errors.WpcloneError):
        return _status(code, f"Internal error. Tell the operator this request id: {request_id}.", "INTERNAL", {}, request_id, [])
    details: list[Message] = []
    if isinstance(error, errors.InvalidRequest):
        details.append(_bad_request(error))
    after = retry_after(error)
    if after is not None:
        pause = Duration()
        pause.FromTimedelta(after)
        details.append(error_details_pb2.RetryInfo(retry_delay=pause))
    return _status(code, error.message, error.reason, error.metadata, request_id, details)


def _status(
    code: grpc.StatusCode, message: str, reason: str, metadata: dict[str, str], request_id: str, details: list[Message]
) -> Status:
    status = Status(code=_NUMBERS[code], message=cut(message, LONGEST_MESSAGE))
    few = {name: cut(value, LONGEST_DESCRIPTION) for name, value in list(metadata.items())[:MOST_METADATA]}
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=few)
    for detail in (info, *details, error_details_pb2.RequestInfo(request_id=request_id)):
        status.details.add().Pack(detail)
    return status


def _bad_request(error: errors.InvalidRequest) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for violation in error.violations[:MOST_VIOLATIONS]:
        bad.field_violations.add(field=violation.field, description=cut(violation.description, LONGEST_DESCRIPTION))
    return bad


def cut(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
