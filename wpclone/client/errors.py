"""What a call raises: one error with the service's own reason, taken from the rich status when there is one.

The service sends `google.rpc.Status` with `ErrorInfo` (reason, metadata), `BadRequest` (all field violations together) and
`RetryInfo`. Errors made on the way (a proxy, the connection) carry none of these; their reason is made from the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

UNREACHABLE = "UNREACHABLE"
"""Our own reason: nobody answered, or the connection broke."""
TIMED_OUT = "TIMED_OUT"
"""Our own reason: no answer within the call's deadline."""

_REASONS_OF_CODES = {
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: TIMED_OUT,
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_REQUEST",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.NOT_FOUND: "NOT_FOUND",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "LIMIT_REACHED",
    grpc.StatusCode.UNIMPLEMENTED: "UNIMPLEMENTED",
}


@dataclass(frozen=True)
class Violation:
    """One bad field of a request, as the API spells it, and one sentence that says what would be right."""

    field: str
    description: str


class ClientError(Exception):
    """A call failed. `code` is gRPC's, `reason` the service's word (UPPER_SNAKE), `message` one sentence for people."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})
        super().__init__(message)


def from_rpc_error(error: grpc.aio.AioRpcError) -> ClientError:
    """Our error for a failed call of `grpc.aio`."""
    info, violations, retry_after = _details(_rich_status(error))
    code = error.code()
    return ClientError(
        code,
        info.reason or _REASONS_OF_CODES.get(code, "INTERNAL"),
        error.details() or code.name.lower().replace("_", " "),
        violations=violations,
        retry_after=retry_after,
        metadata=info.metadata,
    )


def _rich_status(error: grpc.aio.AioRpcError) -> Status | None:
    """The status message in the trailers, or None: also when it contradicts the plain status (a cut or rewritten trailer)."""
    try:
        status: Status | None = rpc_status.from_call(error)  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    return status


def _details(status: Status | None) -> tuple[error_details_pb2.ErrorInfo, list[Violation], timedelta | None]:
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after = None
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
        detail.Unpack(bad_request)
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
    return info, [Violation(v.field, v.description) for v in bad_request.field_violations], retry_after
