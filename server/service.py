"""CloneService: each method parses, asks, renders. Errors, logs, deadlines and metrics are the interceptor's."""
# ruff: noqa: N802 -- gRPC names methods

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from server import pages, render, restore_ask, translate
from server.accept import Accept
from server.answer import Context, created, within
from server.auth import Auth, check_priority, customer_for, customers_seen, seen
from server.restoring import Restoring
from server.showing import Showing
from server.sign_in import SignIn
from server.translate import Lives
from server.watch import Watches
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import CloneNotFound, JobNotFound
from wpclone.core.jobs.job import Clone, Job, Principal
from wpclone.core.jobs.states import KeptState
from wpclone.core.store import JobStore, Page
from wpclone.v2 import clone_pb2, clone_service_pb2, clone_service_pb2_grpc, job_pb2


@dataclass(frozen=True)
class Parts:
    """What the service asks."""

    store: JobStore
    auth: Auth
    accept: Accept
    restoring: Restoring
    watches: Watches
    showing: Showing
    sign_in: SignIn
    lives: Lives
    clock: Clock


class CloneService(clone_service_pb2_grpc.CloneServiceServicer):
    """The API's one service; protos/wpclone/v2/clone_service.proto says what each method promises."""

    def __init__(self, parts: Parts) -> None:
        self._on = parts

    async def CreateClone(self, request: clone_service_pb2.CreateCloneRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        ask = translate.clone_ask(request, self._on.lives)
        check_priority(who, ask.priority)
        job = await self._on.accept.clone(ask, customer_for(who, ask.customer_id))
        return await created(self._on.showing.job(job), context)

    async def GetClone(self, request: clone_service_pb2.GetCloneRequest, context: Context) -> clone_pb2.Clone:
        """See the proto."""
        who = await self._who(context)
        return render.clone(await self._clone(who, translate.clone_id(request)))

    async def ListClones(
        self, request: clone_service_pb2.ListClonesRequest, context: Context
    ) -> clone_service_pb2.ListClonesResponse:
        """See the proto."""
        who = await self._who(context)
        query = translate.clones_query(request)
        whose = customers_seen(who, query.customer_id)
        found = await self._on.store.list_clones(customer_id=whose, page=_one_more(query.page), state=query.state)
        shown, last = found[: query.page.size], found[query.page.size - 1 : query.page.size]
        token = pages.to_token(last[0].created_at, last[0].clone_id, filters=query.filters) if len(found) > len(shown) else ""
        return clone_service_pb2.ListClonesResponse(clones=map(render.clone, shown), next_page_token=token)

    async def ExtendClone(self, request: clone_service_pb2.ExtendCloneRequest, context: Context) -> clone_pb2.Clone:
        """See the proto."""
        who = await self._who(context)
        ask = translate.extend_ask(request, self._on.lives, self._on.clock.now())
        clone = await self._clone(who, ask.clone_id)
        return render.clone(await self._on.accept.extend(clone, ask))

    async def DeleteClone(self, request: clone_service_pb2.DeleteCloneRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        clone_id, request_id = translate.clone_and_request_id(request)
        job = await self._on.accept.delete(await self._clone(who, clone_id), request_id)
        return await created(self._on.showing.job(job), context)

    async def CreateSignInLink(
        self, request: clone_service_pb2.CreateSignInLinkRequest, context: Context
    ) -> clone_pb2.SignInLink:
        """See the proto."""
        who = await self._who(context)
        return self._on.sign_in.link(await self._clone(who, translate.clone_id(request)))

    async def GetJob(self, request: clone_service_pb2.GetJobRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        return self._on.showing.to(who, await self._job(who, translate.job_id(request)))

    async def ListJobs(self, request: clone_service_pb2.ListJobsRequest, context: Context) -> clone_service_pb2.ListJobsResponse:
        """See the proto."""
        who = await self._who(context)
        query = translate.jobs_query(request)
        whose = customers_seen(who, query.customer_id)
        found = await self._on.store.list_jobs(customer_id=whose, page=_one_more(query.page), state=query.state, kind=query.kind)
        shown, last = found[: query.page.size], found[query.page.size - 1 : query.page.size]
        token = pages.to_token(last[0].created_at, last[0].job_id, filters=query.filters) if len(found) > len(shown) else ""
        return clone_service_pb2.ListJobsResponse(jobs=map(self._on.showing.listed, shown), next_page_token=token)

    async def WaitJob(self, request: clone_service_pb2.WaitJobRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        job_id, seconds = translate.job_and_wait(request)
        with self._on.watches.watcher(job_id, whose=who.customer_id) as watcher:
            watcher.offer(await self._job(who, job_id))
            await watcher.final(within(seconds, context))
        return self._on.showing.to(who, await self._job(who, job_id))

    async def WatchJob(
        self, request: clone_service_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[clone_service_pb2.WatchJobResponse]:
        """See the proto."""
        who = await self._who(context)
        job_id, after = translate.job_and_revision(request)
        # Registered before the read, so that no change falls between.
        with self._on.watches.watcher(job_id, whose=who.customer_id) as watcher:
            watcher.offer(await self._job(who, job_id))
            async with aclosing(watcher.updates(after)) as updates:
                async for update in updates:
                    yield clone_service_pb2.WatchJobResponse(job=self._on.showing.job(update.job), closing=update.closing)

    async def CancelJob(self, request: clone_service_pb2.CancelJobRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        job_id, request_id = translate.job_and_request_id(request)
        job = await self._on.accept.cancel(await self._job(who, job_id), request_id)
        return self._on.showing.job(job)

    async def RetryJob(self, request: clone_service_pb2.RetryJobRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        job_id, request_id = translate.job_and_request_id(request)
        old = await self._job(who, job_id)
        check_priority(who, old.priority)
        job = await self._on.accept.retry(old, request_id)
        return await created(self._on.showing.job(job), context)

    async def CreateRestore(self, request: clone_service_pb2.CreateRestoreRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        who = await self._who(context)
        job = await restore(self._on, who, restore_ask.restore_ask(request))
        return await created(self._on.showing.job(job), context)

    async def RollbackRestore(self, request: clone_service_pb2.RollbackRestoreRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        return await self._leave(request, KeptState.ROLLED_BACK, context)

    async def ReleaseRestore(self, request: clone_service_pb2.ReleaseRestoreRequest, context: Context) -> job_pb2.Job:
        """See the proto."""
        return await self._leave(request, KeptState.RELEASED, context)

    async def _leave(
        self,
        request: clone_service_pb2.RollbackRestoreRequest | clone_service_pb2.ReleaseRestoreRequest,
        becomes: KeptState,
        context: Context,
    ) -> job_pb2.Job:
        who = await self._who(context)
        job_id, request_id = restore_ask.restore_and_request_id(request)
        job = await self._on.restoring.leave(await self._job(who, job_id), becomes, request_id)
        return await created(self._on.showing.job(job), context)

    async def _who(self, context: Context) -> Principal:
        return await self._on.auth.who(context.invocation_metadata())

    async def _job(self, who: Principal, job_id: str) -> Job:
        return seen(who, await self._on.store.get_job(job_id), JobNotFound)

    async def _clone(self, who: Principal, clone_id: str) -> Clone:
        return seen(who, await self._on.store.get_clone(clone_id), CloneNotFound)


async def restore(on: Parts, who: Principal, ask: restore_ask.RestoreAsk) -> Job:
    """Accept a restore: for the token's customer, the one an administrator names, or the clone's."""
    whose = customer_for(who, ask.customer_id)
    if ask.clone_id:
        clone = seen(who, await on.store.get_clone(ask.clone_id), CloneNotFound)
        whose = ask.customer_id or clone.customer_id
    return await on.restoring.create(ask, whose)


def _one_more(page: Page) -> Page:
    """The page and one row beyond, which tells whether there is a next one."""
    return Page(page.size + 1, page.after)
