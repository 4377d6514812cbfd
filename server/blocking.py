"""wpclone.v1: calls that last as long as their work. What they ask for is recorded as v2 does it; only the answer comes later."""
# ruff: noqa: N802 -- gRPC names methods

from __future__ import annotations

from server import restore_ask, translate
from server.answer import Context, created, within
from server.auth import customer_for, seen
from server.service import Parts, restore
from wpclone.core.jobs.errors import JobNotFound, LimitReached, ShuttingDown, StoreUnavailable
from wpclone.core.jobs.job import Job, Principal
from wpclone.v1 import clone_service_pb2, clone_service_pb2_grpc
from wpclone.v2 import job_pb2


class BlockingService(clone_service_pb2_grpc.CloneServiceServicer):
    """The older API; protos/wpclone/v1/clone_service.proto says what each method promises."""

    def __init__(self, parts: Parts) -> None:
        self._on = parts

    async def Clone(self, request: clone_service_pb2.CloneRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._on.auth.who(context.invocation_metadata())
        ask = translate.older_clone_ask(request, self._on.lives)
        job = await self._on.accept.clone(ask, customer_for(who, ask.customer_id))
        return await self._answer(who, job, context, at_once=request.async_mode)

    async def Restore(self, request: clone_service_pb2.RestoreRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._on.auth.who(context.invocation_metadata())
        job = await restore(self._on, who, restore_ask.older_restore_ask(request))
        return await self._answer(who, job, context, at_once=request.async_mode)

    async def _answer(self, who: Principal, job: Job, context: Context, *, at_once: bool) -> job_pb2.Job:
        """The job in the end, or as it is when its end is not to be waited for or cannot be seen from here."""
        if not at_once:
            job = await self._ended(who, job, within(translate.LONGEST_WAIT, context))
        if job.state.is_terminal:
            return self._on.showing.to(who, job)
        return await created(self._on.showing.job(job), context)

    async def _ended(self, who: Principal, job: Job, seconds: float) -> Job:
        """The job after its end, after `seconds`, or as it was accepted when it cannot be waited for: it is recorded, so the
        caller gets its id and no error that would make it ask for another."""
        try:
            with self._on.watches.watcher(job.job_id, whose=who.customer_id) as watcher:
                watcher.offer(job)
                await watcher.final(seconds)
            return seen(who, await self._on.store.get_job(job.job_id), JobNotFound)
        except (LimitReached, ShuttingDown, StoreUnavailable):
            return job
