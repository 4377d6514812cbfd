"""A job as it changes, over as many connections as it takes.

The service's stream is level-triggered: each message is the whole job at one revision, heartbeats repeat the last one, and
`closing` means the server goes away. Only a terminal job ends a watch; that a stream ended means nothing by itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import grpc

from wpclone.client.errors import UNREACHABLE, ClientError, from_rpc_error
from wpclone.client.lines import Line, Lines
from wpclone.client.resume import Budget, Patience, is_resumable
from wpclone.client.time import Time
from wpclone.v2 import clone_service_pb2, job_pb2

TERMINAL = frozenset({"completed", "failed", "cancelled"})
"""The words of `Job.status` after which a job never changes."""

WatchCall = grpc.aio.UnaryStreamCall[clone_service_pb2.WatchJobRequest, clone_service_pb2.WatchJobResponse]
OnLost = Callable[[ClientError, float], None]
"""Told when a stream broke: why, and the pause in seconds before the next try."""


class Watcher:
    """Watches jobs over `lines`. `start` opens a stream after a revision; `get_job` reads a job once."""

    def __init__(
        self,
        lines: Lines,
        start: Callable[[Line, str, int], WatchCall],
        get_job: Callable[[str], Awaitable[job_pb2.Job]],
        *,
        patience: Patience,
        time: Time,
        chance: random.Random,
    ) -> None:
        self._lines = lines
        self._start = start
        self._get_job = get_job
        self._patience = patience
        self._time = time
        self._chance = chance

    async def watch(self, job_id: str, after_revision: int, on_lost: OnLost | None) -> AsyncGenerator[job_pb2.Job, None]:
        """Each newer revision once, the terminal one last. Raises ClientError when it can't go on."""
        shown = after_revision
        budget = Budget(self._patience, self._chance, now=self._time.monotonic())
        while True:
            try:
                async with aclosing(self._stream(job_id, shown, budget)) as stream:
                    async for job in stream:
                        if job.revision > shown:
                            shown = job.revision
                            yield job
                        if job.status in TERMINAL:
                            return
            except ClientError as error:
                await self._pause(error, budget, on_lost)

    async def _stream(self, job_id: str, shown: int, budget: Budget) -> AsyncGenerator[job_pb2.Job, None]:
        """What one stream says, and what GetJob says when it ends without a reason. Raises ClientError when it breaks."""
        async with self._lines.line() as line:
            try:
                async with aclosing(self._responses(line, job_id, shown, budget)) as responses:
                    async for response in responses:
                        yield response.job
                        if response.closing:
                            raise ClientError(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "the server goes away")
                yield await self._get_job(job_id)
                raise ClientError(grpc.StatusCode.UNAVAILABLE, UNREACHABLE, "the stream ended before the job did")
            except ClientError:
                self._lines.replace(line)
                raise

    async def _responses(
        self, line: Line, job_id: str, shown: int, budget: Budget
    ) -> AsyncGenerator[clone_service_pb2.WatchJobResponse, None]:
        budget.opened(self._time.monotonic())
        call = self._start(line, job_id, shown)
        limit = self._patience.first
        try:
            while (response := await self._read(call, limit.total_seconds())) is not None:
                budget.heard(self._time.monotonic())
                limit = self._patience.silence
                yield response
        finally:
            call.cancel()

    async def _read(self, call: WatchCall, within: float) -> clone_service_pb2.WatchJobResponse | None:
        """The next message, or None at the stream's end."""
        try:
            async with asyncio.timeout(within):
                response = await call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except TimeoutError as silence:
            text = f"no word from the server for {within:g} s"
            raise ClientError(grpc.StatusCode.UNAVAILABLE, UNREACHABLE, text) from silence
        return response if isinstance(response, clone_service_pb2.WatchJobResponse) else None

    async def _pause(self, error: ClientError, budget: Budget, on_lost: OnLost | None) -> None:
        """Wait before the next try, or raise the error when another one is useless or patience is over."""
        pause = budget.pause_after(error, self._time.monotonic()) if is_resumable(error) else None
        if pause is None:
            raise error
        if on_lost is not None:
            on_lost(error, pause)
        await self._time.sleep(pause)
