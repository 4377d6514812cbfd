"""`connect` and `CloneClient`: every method of the service, each with a deadline, each failure a `ClientError`.

Repeating a call never does its work twice: what changes something carries a request id, made here when the caller gives none.
So a unary call that found nobody is tried again within its deadline.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from wpclone.client.calls import Calls
from wpclone.client.lines import Line, Lines
from wpclone.client.listing import gather_rows
from wpclone.client.resume import Patience
from wpclone.client.target import channel_opener
from wpclone.client.time import SystemTime, Time
from wpclone.client.watch import OnLost, WatchCall, Watcher
from wpclone.v2 import clone_pb2, job_pb2
from wpclone.v2 import clone_service_pb2 as messages

Creation = TypeVar("Creation", messages.CreateCloneRequest, messages.CreateRestoreRequest)
WAIT_MARGIN = timedelta(seconds=5)
"""What WaitJob's deadline has beyond the wait it asks for."""


def connect(
    target: str,
    token: str,
    *,
    timeout: timedelta = timedelta(seconds=15),
    patience: Patience | None = None,
    root_certificates: bytes | None = None,
) -> CloneClient:
    """A client of the service at `target` (`host:port`, or `https://host` for TLS), for use in `async with`.

    `timeout` is each unary call's deadline, `patience` how long a broken watch is kept trying; `root_certificates` (PEM)
    replaces the system's. Nothing is sent before the first call. Raises ValueError for a malformed target, and for a token
    that no header can carry; the sentence does not repeat it.
    """
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("the token has characters that no token has: spaces, control characters or others than ASCII")
    return CloneClient(
        Lines(channel_opener(target, root_certificates=root_certificates)),
        token,
        timeout=timeout,
        patience=patience or Patience(),
        time=SystemTime(),
        chance=random.SystemRandom(),
        make_id=lambda: str(uuid.uuid4()),
    )


class CloneClient:
    """The service's methods, typed. Made by `connect`; for one event loop and any number of its tasks."""

    def __init__(
        self,
        lines: Lines,
        token: str,
        *,
        timeout: timedelta,
        patience: Patience,
        time: Time,
        chance: random.Random,
        make_id: Callable[[], str],
    ) -> None:
        self._lines = lines
        self._calls = Calls(lines, token, timeout=timeout, patience=patience, time=time, chance=chance)
        self._watcher = Watcher(lines, self._start_watch, self.get_job, patience=patience, time=time, chance=chance)
        self._lifetime = patience.lifetime.total_seconds()
        self._make_id = make_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls still open end with CANCELLED."""
        await self._lines.close()

    async def create_clone(self, request: messages.CreateCloneRequest) -> job_pb2.Job:
        """Ask for a clone; the answer is its pending job."""
        return await self._calls.unary(lambda line: line.stub.CreateClone, self._named(request))

    async def get_clone(self, clone_id: str) -> clone_pb2.Clone:
        """The clone."""
        return await self._calls.unary(lambda line: line.stub.GetClone, messages.GetCloneRequest(clone_id=clone_id))

    async def list_clones(self, *, status: str = "", limit: int = 50) -> list[clone_pb2.Clone]:
        """Up to `limit` clones, newest first; deleted ones only when asked for by status."""
        ask = partial(self._calls.unary, lambda line: line.stub.ListClones)
        return await gather_rows(ask, messages.ListClonesRequest(status=status), lambda page: page.clones, limit=limit)

    async def extend_clone(self, clone_id: str, expires_at: datetime) -> clone_pb2.Clone:
        """Let a ready clone live until a later time, which must be aware."""
        request = messages.ExtendCloneRequest(request_id=self._make_id(), clone_id=clone_id)
        request.expires_at.FromDatetime(expires_at)
        return await self._calls.unary(lambda line: line.stub.ExtendClone, request)

    async def delete_clone(self, clone_id: str) -> job_pb2.Job:
        """Delete a clone; the answer is the job that does it."""
        request = messages.DeleteCloneRequest(request_id=self._make_id(), clone_id=clone_id)
        return await self._calls.unary(lambda line: line.stub.DeleteClone, request)

    async def create_sign_in_link(self, clone_id: str) -> clone_pb2.SignInLink:
        """A URL that signs its first visitor in, for 5 minutes."""
        request = messages.CreateSignInLinkRequest(clone_id=clone_id)
        return await self._calls.unary(lambda line: line.stub.CreateSignInLink, request)

    async def get_job(self, job_id: str) -> job_pb2.Job:
        """The job with its steps, and with the clone's password once completed."""
        return await self._calls.unary(lambda line: line.stub.GetJob, messages.GetJobRequest(job_id=job_id))

    async def list_jobs(self, *, status: str = "", kind: str = "", limit: int = 50) -> list[job_pb2.Job]:
        """Up to `limit` jobs, newest first, without steps and passwords; `kind` is a word of `Job.type`."""
        ask = partial(self._calls.unary, lambda line: line.stub.ListJobs)
        return await gather_rows(ask, messages.ListJobsRequest(status=status, type=kind), lambda page: page.jobs, limit=limit)

    async def wait_job(self, job_id: str, within: timedelta) -> job_pb2.Job:
        """The job when it is final or `within` (1 s to 10 min) is over, whichever is first; its status tells which."""
        request = messages.WaitJobRequest(job_id=job_id, timeout_seconds=max(1, round(within.total_seconds())))
        return await self._calls.unary(lambda line: line.stub.WaitJob, request, timeout=within + WAIT_MARGIN)

    async def cancel_job(self, job_id: str) -> job_pb2.Job:
        """Ask to cancel a job; one that runs is undone first."""
        request = messages.CancelJobRequest(request_id=self._make_id(), job_id=job_id)
        return await self._calls.unary(lambda line: line.stub.CancelJob, request)

    async def retry_job(self, job_id: str) -> job_pb2.Job:
        """Ask for a failed or cancelled job again; the answer is the new job."""
        request = messages.RetryJobRequest(request_id=self._make_id(), job_id=job_id)
        return await self._calls.unary(lambda line: line.stub.RetryJob, request)

    async def create_restore(self, request: messages.CreateRestoreRequest) -> job_pb2.Job:
        """Ask for a restore; the answer is its pending job."""
        return await self._calls.unary(lambda line: line.stub.CreateRestore, self._named(request))

    async def rollback_restore(self, job_id: str) -> job_pb2.Job:
        """Bring back what a restore replaced; the answer is the job that does it."""
        request = messages.RollbackRestoreRequest(request_id=self._make_id(), job_id=job_id)
        return await self._calls.unary(lambda line: line.stub.RollbackRestore, request)

    async def release_restore(self, job_id: str) -> job_pb2.Job:
        """Drop what a restore replaced; the answer is the job that does it."""
        request = messages.ReleaseRestoreRequest(request_id=self._make_id(), job_id=job_id)
        return await self._calls.unary(lambda line: line.stub.ReleaseRestore, request)

    def watch(self, job_id: str, *, after_revision: int = 0, on_lost: OnLost | None = None) -> AsyncGenerator[job_pb2.Job, None]:
        """The job at each revision newer than `after_revision`, none twice, the final one last.

        A broken connection is taken up again on a fresh one; `on_lost` is told why and after what pause. Raises ClientError
        when that is useless or patience is over. Use `contextlib.aclosing` when leaving early.
        """
        return self._watcher.watch(job_id, after_revision, on_lost)

    def _named(self, request: Creation) -> Creation:
        """The same request under an id: the caller's, or one made here."""
        named = type(request)()
        named.CopyFrom(request)
        named.request_id = request.request_id or self._make_id()
        return named

    def _start_watch(self, line: Line, job_id: str, after_revision: int) -> WatchCall:
        request = messages.WatchJobRequest(job_id=job_id, after_revision=after_revision)
        return line.stub.WatchJob(request, metadata=self._calls.metadata, timeout=self._lifetime)
