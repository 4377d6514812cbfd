"""Watches and waits over real gRPC, in process, on a memory store."""

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.app import SERVICE, Rhythm
from tests.support.serving import (
    CUSTOMER,
    OPERATOR,
    Edge,
    details,
    fail,
    make_ready,
    quick,
    reason,
    refused,
    serving,
)
from tests.support.wait import until_async
from wpclone.core.bus import subjects
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Job
from wpclone.v2 import clone_service_pb2


async def fail_after_next_read(edge: Edge, job_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the job next gets it as it was before it failed; the failure has been told by then."""
    claim = await edge.claim(job_id)
    read = edge.store.get_job

    async def slow(asked: str) -> Job | None:
        found = await read(asked)
        monkeypatch.setattr(edge.store, "get_job", read)
        await fail(edge, claim)
        await until_async(heard, within=5)
        return found

    async def heard() -> bool:
        return all(not listener._told for listener in edge.bus._listeners)

    monkeypatch.setattr(edge.store, "get_job", slow)


async def test_a_watch_goes_from_pending_to_the_end() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        call = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        assert (await call.read()).job.status == "pending"
        claim = await edge.claim(job_id)
        await edge.apply(transitions.progressed(claim, progress=40, status_message="Copying"))
        first = await call.read()
        assert (first.job.progress, first.job.status_message, first.closing) == (40, "Copying", False)
        await fail(edge, claim)
        while (response := await call.read()) is not grpc.aio.EOF:
            last = response.job.status
        assert last == "failed"
        assert await call.code() is grpc.StatusCode.OK


async def test_a_watch_misses_nothing_when_the_change_comes_while_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the re-read of all watched jobs out of the way, only the order subscribe, then read keeps this promise."""
    async with serving(rhythm=Rhythm(reread=3600)) as edge:
        job_id = (await edge.create()).job_id
        await fail_after_next_read(edge, job_id, monkeypatch)
        call = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        async with asyncio.timeout(5):
            assert [response.job.status async for response in call][-1] == "failed"


async def test_a_wait_misses_no_end_that_comes_while_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(rhythm=Rhythm(reread=3600)) as edge:
        job_id = (await edge.create()).job_id
        await fail_after_next_read(edge, job_id, monkeypatch)
        request = clone_service_pb2.WaitJobRequest(job_id=job_id, timeout_seconds=300)
        async with asyncio.timeout(20):
            assert (await edge.stub.WaitJob(request, metadata=edge.as_(CUSTOMER))).status == "failed"


async def test_a_lost_event_reaches_the_watcher_by_the_next_read() -> None:
    async with serving(rhythm=quick(later=3600, reread=0.05)) as edge:
        job_id = (await edge.create()).job_id
        call = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        await call.read()
        claim = await edge.claim(job_id)
        await edge.apply(transitions.progressed(claim, progress=7, status_message="x"), tell=False)
        async with asyncio.timeout(5):
            while (await call.read()).job.progress != 7:
                continue
        call.cancel()


async def test_a_quiet_watch_has_heartbeats() -> None:
    async with serving(rhythm=quick(first=0.02, later=0.02)) as edge:
        job_id = (await edge.create()).job_id
        call = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id, after_revision=1), metadata=edge.as_(CUSTOMER))
        async with asyncio.timeout(5):
            assert [(await call.read()).job.revision for _ in range(3)] == [1, 1, 1]
        call.cancel()


async def test_an_abandoned_watch_leaves_nothing() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        call = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        await call.read()
        assert edge.metrics.registry.get_sample_value("clone_watchers") == 1

        async def is_forgotten() -> bool:
            return edge.metrics.registry.get_sample_value("clone_watchers") == 0

        call.cancel()
        await until_async(is_forgotten, within=5)


async def test_all_watches_of_a_process_share_one_subscription() -> None:
    async with serving() as edge:
        jobs = [(await edge.create()).job_id for _ in range(5)]
        requests = [clone_service_pb2.WatchJobRequest(job_id=job_id) for job_id in jobs * 10]
        calls = [edge.stub.WatchJob(request, metadata=edge.as_(CUSTOMER)) for request in requests]
        for call in calls:
            await call.read()
        assert [listener.subject for listener in edge.bus._listeners] == [subjects.EVENTS]
        for call in calls:
            call.cancel()


async def test_too_many_watches_of_one_customer_are_refused_with_a_time_to_come_back() -> None:
    async with serving(watches_each=2) as edge:
        job_id = (await edge.create()).job_id
        request = clone_service_pb2.WatchJobRequest(job_id=job_id)
        calls = [edge.stub.WatchJob(request, metadata=edge.as_(CUSTOMER)) for _ in range(2)]
        for call in calls:
            await call.read()
        error = await refused(edge.stub.WatchJob(request, metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        assert any(isinstance(detail, error_details_pb2.RetryInfo) for detail in details(error))
        assert (await edge.stub.WatchJob(request, metadata=edge.as_(OPERATOR)).read()).job.job_id == job_id
        calls[0].cancel()

        async def one_may_watch_again() -> bool:
            call = edge.stub.WatchJob(request, metadata=edge.as_(CUSTOMER))
            try:
                return bool((await call.read()).job.job_id)
            except grpc.aio.AioRpcError:
                return False

        await until_async(one_may_watch_again, within=5)


async def test_a_drain_ends_watches_and_waits_and_health_says_so() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        health = health_pb2_grpc.HealthStub(edge.channel)  # type: ignore[no-untyped-call]
        assert (
            await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        ).status == health_pb2.HealthCheckResponse.SERVING
        watched_health = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watched_health.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch = edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        await watch.read()
        wait = edge.stub.WaitJob(
            clone_service_pb2.WaitJobRequest(job_id=job_id, timeout_seconds=600), metadata=edge.as_(CUSTOMER)
        )

        async def both_watch() -> bool:
            return edge.metrics.registry.get_sample_value("clone_watchers") == 2

        await until_async(both_watch, within=5)
        draining = asyncio.create_task(edge.app.drain(30))
        async with asyncio.timeout(10):
            last = await watch.read()
            assert (last.closing, last.job.revision) == (True, 1)
            error = await refused(watch)
            assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            assert (await wait).status == "pending"
            assert (await watched_health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            await draining


async def test_a_wait_ends_with_the_job() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        request = clone_service_pb2.WaitJobRequest(job_id=job_id, timeout_seconds=60)
        waiting = asyncio.create_task(_call(edge.stub.WaitJob(request, metadata=edge.as_(CUSTOMER))))

        async def is_watched() -> bool:
            return edge.metrics.registry.get_sample_value("clone_watchers") == 1

        await until_async(is_watched, within=5)
        await make_ready(edge, job_id)
        async with asyncio.timeout(5):
            assert (await waiting).status == "completed"


async def test_a_wait_ends_before_the_clients_own_deadline() -> None:
    async with serving() as edge:
        request = clone_service_pb2.WaitJobRequest(job_id=(await edge.create()).job_id, timeout_seconds=60)
        job = await edge.stub.WaitJob(request, metadata=edge.as_(CUSTOMER), timeout=1.5)
        assert job.status == "pending"


async def _call(call: Any) -> Any:
    return await call
