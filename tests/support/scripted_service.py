"""A real grpc.aio server on loopback whose watch streams misbehave as a test orders: one behaviour for each stream asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from wpclone.v2 import clone_pb2, job_pb2
from wpclone.v2 import clone_service_pb2 as messages
from wpclone.v2.clone_service_pb2_grpc import CloneServiceServicer, add_CloneServiceServicer_to_server

JOB_ID = "clone-0123456789ab"
RETRY_ID = "clone-ba9876543210"
RESTORE_ID = "restore-00000000000a"
PASSWORD = "made-up-password"
Context = grpc.aio.ServicerContext[Any, Any]
_to_status: Callable[[status_pb2.Status], Any] = rpc_status.to_status
Behaviour = Callable[[messages.WatchJobRequest, Context], AsyncIterator[messages.WatchJobResponse]]


def job(revision: int, status: str = "running", *, job_id: str = JOB_ID, progress: int = 0, step: str = "") -> job_pb2.Job:
    """A job at a revision; a completed one has a result without a password, as watchers see it."""
    made = job_pb2.Job(job_id=job_id, type="clone", status=status, revision=revision, progress=progress)
    made.status_message = step or status
    made.created_at.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    if step:
        made.steps.add(name=step, status="running", attempts=1)
    if status == "completed":
        made.progress = 100
        made.result.clone_url, made.result.username, made.result.clone_id = "http://clone.localhost:8000", "admin", job_id
        made.completed_at.FromDatetime(datetime(2030, 1, 1, 0, 0, 9, tzinfo=UTC))
    if status == "failed":
        made.error = "WordPress refused the username or password"
        made.error_detail.reason, made.error_detail.step = "LOGIN_REFUSED", "preflight"
    return made


def says(*jobs: job_pb2.Job) -> Behaviour:
    """Send these, newer than what was seen, then end with OK."""

    async def behave(request: messages.WatchJobRequest, context: Context) -> AsyncIterator[messages.WatchJobResponse]:
        for one in jobs:
            yield messages.WatchJobResponse(job=one)

    return behave


def then(first: Behaviour, code: grpc.StatusCode, text: str) -> Behaviour:
    """`first`, then an error."""

    async def behave(request: messages.WatchJobRequest, context: Context) -> AsyncIterator[messages.WatchJobResponse]:
        async for response in first(request, context):
            yield response
        await context.abort(code, text)

    return behave


def closing(last: job_pb2.Job) -> Behaviour:
    """Say that the server goes away, as one that drains does."""

    async def behave(request: messages.WatchJobRequest, context: Context) -> AsyncIterator[messages.WatchJobResponse]:
        yield messages.WatchJobResponse(job=last, closing=True)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")

    return behave


def hangs(*jobs: job_pb2.Job) -> Behaviour:
    """Send these, then say nothing more until the client lets go."""

    async def behave(request: messages.WatchJobRequest, context: Context) -> AsyncIterator[messages.WatchJobResponse]:
        for one in jobs:
            yield messages.WatchJobResponse(job=one)
        await asyncio.Event().wait()

    return behave


def refusal(
    code: grpc.StatusCode,
    reason: str,
    message: str,
    *,
    violations: Sequence[tuple[str, str]] = (),
    retry_seconds: int | None = None,
) -> status_pb2.Status:
    """A rich status as the service sends it."""
    status = status_pb2.Status(code=code.value[0], message=message)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain="wpclone.dev", metadata={"request_id": "r-1"})]
    if violations:
        fields = [error_details_pb2.BadRequest.FieldViolation(field=f, description=d) for f, d in violations]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if retry_seconds is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_seconds)))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class ScriptedService(CloneServiceServicer):
    """Keeps what it was asked, and answers by script. `refusals` are used up first, one for each unary call."""

    def __init__(self) -> None:
        self.streams: deque[Behaviour] = deque()
        self.refusals: deque[status_pb2.Status] = deque()
        self.jobs: dict[str, job_pb2.Job] = {}
        self.requests: list[object] = []
        self.watches: list[messages.WatchJobRequest] = []
        self.peers: list[str] = []
        self.tokens: list[str] = []
        self.deadlines: list[float] = []

    async def _note(self, request: object, context: Context) -> None:
        self.requests.append(request)
        self.peers.append(context.peer())
        self.tokens.append(str(dict(context.invocation_metadata() or ()).get("authorization", "")))
        self.deadlines.append(context.time_remaining() or 0.0)
        if self.refusals and not isinstance(request, messages.WatchJobRequest):
            await context.abort_with_status(_to_status(self.refusals.popleft()))

    def _end(self, job_id: str) -> job_pb2.Job:
        """A job as its owner gets it."""
        shown = job_pb2.Job()
        shown.CopyFrom(self.jobs[job_id])
        if shown.status == "completed":
            shown.result.password = PASSWORD
        return shown

    async def CreateClone(self, request: messages.CreateCloneRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        number = sum(isinstance(one, messages.CreateCloneRequest) for one in self.requests)
        job_id = JOB_ID if number == 1 else f"clone-{number:012x}"
        return job(1, "pending", job_id=job_id)

    async def GetJob(self, request: messages.GetJobRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        if request.job_id not in self.jobs:
            status = refusal(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", "There is no job with this id.")
            await context.abort_with_status(_to_status(status))
        return self._end(request.job_id)

    async def ListJobs(self, request: messages.ListJobsRequest, context: Context) -> messages.ListJobsResponse:
        copy = messages.ListJobsRequest()
        copy.CopyFrom(request)
        await self._note(copy, context)
        start = int(request.page_token or 0)
        jobs = list(self.jobs.values())[start : start + request.page_size]
        end = start + len(jobs)
        return messages.ListJobsResponse(jobs=jobs, next_page_token=str(end) if end < len(self.jobs) else "")

    async def WaitJob(self, request: messages.WaitJobRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        return self._end(request.job_id)

    async def CancelJob(self, request: messages.CancelJobRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        return job(5, "running", job_id=request.job_id)

    async def RetryJob(self, request: messages.RetryJobRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        made = job(1, "pending", job_id=RETRY_ID)
        made.retry_of = request.job_id
        return made

    async def CreateRestore(self, request: messages.CreateRestoreRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        return job(1, "pending", job_id=RESTORE_ID)

    async def RollbackRestore(self, request: messages.RollbackRestoreRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        return job(1, "pending", job_id=RESTORE_ID)

    async def ReleaseRestore(self, request: messages.ReleaseRestoreRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        return job(1, "pending", job_id=RESTORE_ID)

    async def WatchJob(self, request: messages.WatchJobRequest, context: Context) -> AsyncIterator[messages.WatchJobResponse]:
        await self._note(request, context)
        self.watches.append(request)
        behaviour = self.streams.popleft() if self.streams else says(self.jobs[request.job_id])
        async for response in behaviour(request, context):
            yield response

    async def GetClone(self, request: messages.GetCloneRequest, context: Context) -> clone_pb2.Clone:
        await self._note(request, context)
        return clone_pb2.Clone(clone_id=request.clone_id, status="ready", source_url="https://example.com")

    async def ListClones(self, request: messages.ListClonesRequest, context: Context) -> messages.ListClonesResponse:
        await self._note(request, context)
        return messages.ListClonesResponse(clones=[clone_pb2.Clone(clone_id=JOB_ID, status=request.status or "ready")])

    async def ExtendClone(self, request: messages.ExtendCloneRequest, context: Context) -> clone_pb2.Clone:
        await self._note(request, context)
        return clone_pb2.Clone(clone_id=request.clone_id, status="ready", expires_at=request.expires_at)

    async def DeleteClone(self, request: messages.DeleteCloneRequest, context: Context) -> job_pb2.Job:
        await self._note(request, context)
        made = job(1, "pending", job_id="delete-0123456789ab")
        made.type = "delete"
        return made

    async def CreateSignInLink(self, request: messages.CreateSignInLinkRequest, context: Context) -> clone_pb2.SignInLink:
        await self._note(request, context)
        return clone_pb2.SignInLink(url="http://clone.localhost:8000/?wpclone-sign-in=once", username="admin")


@asynccontextmanager
async def serving(service: ScriptedService, *, port: int = 0) -> AsyncIterator[str]:
    """The service on a loopback port; yields its address. On leaving, open calls are cut."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_CloneServiceServicer_to_server(service, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)
