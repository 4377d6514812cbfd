"""What every call of our service goes through: request id, admission, deadline, translation of errors, count and log line.

The continuation returns a handler and does not run it, so the handler's function is wrapped, unary and stream apart. Health and
reflection pass untouched. The rules that grpc.aio needs (tried with grpcio 1.85):

- an exception that leaves a handler is sent to the client with its text, so none may leave;
- `AbortError` is an ordinary exception and must pass;
- a CancelledError that is not the call's own cancellation would leave the client without an answer: it is translated;
- the call's own cancellation must propagate, or native memory leaks;
- an error in a request's deserializer never reaches the handler, so deserializing must not raise.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from server import call as calls
from server.admission import Admission
from server.call import Call
from server.status import TimedOut, code_of, retry_after, status_of
from wpclone.core.clock import Clock
from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import FieldViolation, InvalidRequest
from wpclone.core.metrics import Metrics

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the type stubs only
_to_status: Callable[[Status], Any] = rpc_status.to_status


class Undecodable:
    """Stands for a request whose bytes are no message."""


class Edge(grpc.aio.ServerInterceptor):
    """Wraps the handlers of the services `ours`, given by their full names."""

    def __init__(
        self, *, ours: Sequence[str], admission: Admission, clock: Clock, randomness: Randomness, metrics: Metrics
    ) -> None:
        self._ours = tuple(f"/{service}/" for service in ours)
        self._admission = admission
        self._clock = clock
        self._randomness = randomness
        self._metrics = metrics

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]], details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The wrapped handler; None when there is none."""
        handler = await continuation(details)
        if handler is None or not details.method.startswith(self._ours):
            return handler
        name = details.method.rpartition("/")[2]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(name, handler.unary_stream),
                request_deserializer=_tolerant(handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(name, handler.unary_unary),
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    def _unary(self, name: str, inner: Any) -> Any:
        async def unary(request: Any, context: Context) -> Any:
            async with self._answered(name, context) as call, _Deadline(call.limit(context.time_remaining())):
                return await inner(_decoded(request), context)

        return unary

    def _stream(self, name: str, inner: Any) -> Any:
        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._answered(name, context), aclosing(inner(_decoded(request), context)) as answers:
                async for answer in answers:
                    yield answer

        return stream

    @asynccontextmanager
    async def _answered(self, name: str, context: Context) -> AsyncIterator[Call]:
        """The call, admitted; its end is counted, and an error becomes its status."""
        call = self._begin(name, context)
        try:
            with self._admission.admit(name):
                yield call
        except grpc.aio.AbortError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await _refuse(call, context, error)
        else:
            call.ended("OK")

    def _begin(self, name: str, context: Context) -> Call:
        request_id = calls.request_id(context.invocation_metadata(), self._randomness)
        # Each call is a task with a context of its own, so nothing has to be unbound.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        return Call(name, request_id, self._clock.monotonic(), self._clock, self._metrics)


class _Deadline:
    """asyncio.timeout that raises our TimedOut, and only when it was this timeout that ended the body."""

    def __init__(self, seconds: float | None) -> None:
        self._scope = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._scope.__aexit__(*raised)
        except TimeoutError as error:
            raise TimedOut from error


async def _refuse(call: Call, context: Context, error: BaseException) -> None:
    """End the call with the error's status. The call's own cancellation is raised again."""
    if isinstance(error, asyncio.CancelledError) and _is_own_cancellation():
        call.ended("CANCELLED")
        raise error
    code = code_of(error)
    call.ended(code.name, error, internal=code is grpc.StatusCode.INTERNAL)
    status = _to_status(status_of(error, call.request_id))
    await context.abort(status.code, status.details, (*status.trailing_metadata, *_retry_header(error)))


def _retry_header(error: BaseException) -> tuple[tuple[str, str], ...]:
    """Envoy makes REST's header of it: a refused call has nothing but trailers. In the initial metadata it would end a client's
    own retries, which end where a response begins."""
    after = retry_after(error)
    return (("retry-after", str(max(1, math.ceil(after.total_seconds())))),) if after is not None else ()


def _is_own_cancellation() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def tolerant(data: bytes) -> Any:
        try:
            return deserialize(data)
        except (DecodeError, ValueError):
            return Undecodable()

    return tolerant


def _decoded(request: Any) -> Any:
    if isinstance(request, Undecodable):
        raise InvalidRequest([FieldViolation("", "the request is no message of this method")])
    return request
