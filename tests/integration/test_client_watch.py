"""The library's watch against a real server that misbehaves."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import grpc
import pytest

from tests.support.fault_proxy import Direction, FaultProxy
from tests.support.places import free_port
from tests.support.scripted_service import JOB_ID, PASSWORD, ScriptedService, closing, hangs, job, refusal, says, serving, then
from tests.support.servers import Loop
from tests.support.wait import until_async
from wpclone.client import ClientError, CloneClient, Patience
from wpclone.client.lines import Lines
from wpclone.client.target import channel_opener
from wpclone.client.time import SystemTime

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
DONE = says(job(9, "completed"))


class Hasty:
    """A clock whose sleeps are over at once and counted, and that can be moved."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def client_of(address: str, time: Hasty | SystemTime | None = None, *, patience: Patience | None = None) -> CloneClient:
    ids = iter(range(1000))
    return CloneClient(
        Lines(channel_opener(address, root_certificates=None)), "secret-token", timeout=timedelta(seconds=10),
        patience=patience or Patience(), time=time or Hasty(), chance=random.Random(7), make_id=lambda: f"id-{next(ids)}",
    )  # fmt: skip


@pytest.fixture
async def service() -> ScriptedService:
    made = ScriptedService()
    made.jobs[JOB_ID] = job(9, "completed")
    return made


@pytest.fixture
async def address(service: ScriptedService) -> AsyncIterator[str]:
    async with serving(service) as bound:
        yield bound


async def seen(client: CloneClient, *, after_revision: int = 0) -> list[int]:
    async with client, aclosing(client.watch(JOB_ID, after_revision=after_revision)) as jobs:
        return [one.revision async for one in jobs]


async def test_a_watch_shows_each_revision_once_and_ends_with_the_final_one(service: ScriptedService, address: str) -> None:
    service.streams.append(says(job(1), job(1), job(3), job(2), job(9, "completed")))
    assert await seen(client_of(address)) == [1, 3, 9]
    assert service.tokens == ["Bearer secret-token"]


@pytest.mark.parametrize(
    ("code", "text"),
    [(UNAVAILABLE, "Socket closed"), (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")],
    ids=["unavailable", "rst_stream"],
)
async def test_a_broken_watch_resumes_after_the_last_revision_on_a_fresh_connection(
    service: ScriptedService, address: str, code: grpc.StatusCode, text: str
) -> None:
    service.streams.extend([then(says(job(1), job(4)), code, text), says(job(4), job(5), job(9, "completed"))])
    assert await seen(client_of(address)) == [1, 4, 5, 9]
    assert [watch.after_revision for watch in service.watches] == [0, 4]
    assert len(set(service.peers)) == 2


async def test_a_server_that_goes_away_hands_its_watchers_on(service: ScriptedService, address: str) -> None:
    service.streams.extend([closing(job(4)), DONE])
    assert await seen(client_of(address)) == [4, 9]
    assert [watch.after_revision for watch in service.watches] == [0, 4]
    assert len(set(service.peers)) == 2


async def test_a_stream_that_ends_before_the_job_is_asked_about_and_resumed(service: ScriptedService, address: str) -> None:
    service.jobs[JOB_ID] = job(5)
    service.streams.extend([says(job(4)), DONE])
    assert await seen(client_of(address)) == [4, 5, 9]


async def test_resuming_after_the_final_revision_ends_at_once_and_shows_nothing(service: ScriptedService, address: str) -> None:
    service.streams.append(says())
    assert await seen(client_of(address), after_revision=9) == []


async def test_an_error_that_another_try_cannot_mend_ends_the_watch(service: ScriptedService, address: str) -> None:
    service.streams.append(then(says(job(1)), grpc.StatusCode.INTERNAL, "a fault; request r-1"))
    with pytest.raises(ClientError) as raised:
        await seen(client_of(address))
    assert (raised.value.reason, len(service.watches)) == ("INTERNAL", 1)


async def test_the_pauses_grow_are_jittered_and_end_with_patience(service: ScriptedService, address: str) -> None:
    broken = then(says(job(1)), UNAVAILABLE, "gone")
    service.streams.extend([broken] * 200)
    time = Hasty()
    with pytest.raises(ClientError, match="gone"):
        await seen(client_of(address, time))
    assert all(pause <= 0.2 * 2**number for number, pause in enumerate(time.slept))
    assert max(time.slept) <= 10
    assert len(set(time.slept)) == len(time.slept)
    assert 280 < time.seconds < 320


async def test_a_healthy_stream_renews_the_patience(service: ScriptedService, address: str) -> None:
    time = Hasty()

    async def healthy(request: object, context: object) -> AsyncIterator[object]:
        time.seconds += 400  # longer than the patience for a broken watch
        async for response in then(says(job(1)), UNAVAILABLE, "gone")(request, context):  # type: ignore[arg-type]
            yield response

    service.streams.extend([healthy, healthy, healthy, DONE])  # type: ignore[list-item]
    assert await seen(client_of(address, time)) == [1, 9]
    assert len(time.slept) == 3
    assert all(pause <= 0.2 for pause in time.slept)


async def test_nobody_there_at_all_is_said_within_the_first_patience() -> None:
    time = Hasty()
    with pytest.raises(ClientError) as raised:
        await seen(client_of(f"127.0.0.1:{free_port()}", time))
    assert raised.value.reason == "UNREACHABLE"
    assert time.seconds < 20


async def test_a_watch_survives_a_restart_of_the_server(service: ScriptedService) -> None:
    port = free_port()
    service.streams.extend([hangs(job(1), job(2)), DONE])
    client = client_of(f"127.0.0.1:{port}", SystemTime(), patience=Patience(longest=timedelta(milliseconds=300)))
    async with client, aclosing(client.watch(JOB_ID)) as jobs:
        async with serving(service, port=port):
            first = [(await anext(jobs)).revision, (await anext(jobs)).revision]
        rest = asyncio.create_task(anext(jobs))
        await until_async(lambda: _refused(port), within=5)
        async with serving(service, port=port):
            final = await rest
    assert first == [1, 2]
    assert final.revision == 9
    assert service.watches[-1].after_revision == 2


async def _refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_a_half_open_connection_is_left_for_a_fresh_one(service: ScriptedService, address: str) -> None:
    """Bytes from the server vanish while the connection stays open: only silence tells."""
    service.streams.extend([hangs(job(1)), DONE])
    host, port = address.split(":")
    loop = Loop()
    proxy = FaultProxy((host, int(port)), loop)
    patience = Patience(silence=timedelta(seconds=0.3), longest=timedelta(seconds=0.1))
    lost: list[str] = []
    client = client_of(f"127.0.0.1:{proxy.port}", SystemTime(), patience=patience)
    try:
        async with client, aclosing(client.watch(JOB_ID, on_lost=lambda e, pause: lost.append(e.message))) as jobs:
            assert (await anext(jobs)).revision == 1
            proxy.faults.swallow.add(Direction.TO_CLIENT)
            rest = asyncio.create_task(anext(jobs))
            await until_async(lambda: _true(bool(lost)), within=10)
            proxy.faults.swallow.clear()
            assert (await rest).revision == 9
    finally:
        proxy.close()
        loop.close()
    assert "no word from the server" in lost[0]
    assert proxy.connections >= 2


async def _true(value: bool) -> bool:
    return value


async def test_one_broken_watch_does_not_end_the_healthy_calls_of_others(service: ScriptedService, address: str) -> None:
    release = asyncio.Event()

    async def patient(request: object, context: object) -> AsyncIterator[object]:
        async for response in says(job(1))(request, context):  # type: ignore[arg-type]
            yield response
        await release.wait()
        async for response in DONE(request, context):  # type: ignore[arg-type]
            yield response

    service.streams.extend([patient, then(says(job(2)), UNAVAILABLE, "gone"), DONE])  # type: ignore[list-item]
    async with client_of(address) as client, aclosing(client.watch(JOB_ID)) as healthy:
        assert (await anext(healthy)).revision == 1
        async with aclosing(client.watch(JOB_ID)) as broken:
            assert [one.revision async for one in broken] == [2, 9]
        release.set()
        assert (await anext(healthy)).revision == 9
    assert len(service.watches) == 3


async def test_leaving_a_watch_cancels_its_stream(service: ScriptedService, address: str) -> None:
    ended = asyncio.Event()

    async def endless(request: object, context: object) -> AsyncIterator[object]:
        try:
            async for response in hangs(job(1))(request, context):  # type: ignore[arg-type]
                yield response
        finally:
            ended.set()

    service.streams.append(endless)  # type: ignore[arg-type]
    async with client_of(address) as client:
        async with aclosing(client.watch(JOB_ID)) as jobs:
            await anext(jobs)
        async with asyncio.timeout(5):
            await ended.wait()


async def test_every_call_has_a_deadline_and_what_changes_something_has_an_id(service: ScriptedService, address: str) -> None:
    async with client_of(address) as client:
        await client.delete_clone(JOB_ID)
        await client.cancel_job(JOB_ID)
        job_shown = await client.get_job(JOB_ID)
        await client.wait_job(JOB_ID, timedelta(seconds=30))
        async for _ in client.watch(JOB_ID):
            pass
    assert job_shown.result.password == PASSWORD
    assert [request.request_id for request in service.requests[:2]] == ["id-0", "id-1"]  # type: ignore[attr-defined]
    limits = [10, 10, 10, 35, 3600]
    assert service.deadlines == pytest.approx(limits, rel=0.05)  # grpc rounds them on the wire


async def test_an_unanswered_call_is_repeated_with_the_same_request_id(service: ScriptedService, address: str) -> None:
    service.refusals.extend([refusal(UNAVAILABLE, "STORE_UNAVAILABLE", "The job store does not answer.")] * 2)
    async with client_of(address) as client:
        await client.cancel_job(JOB_ID)
    assert [request.request_id for request in service.requests] == ["id-0"] * 3  # type: ignore[attr-defined]


async def test_an_unanswered_call_is_given_up_with_the_services_reason(service: ScriptedService, address: str) -> None:
    service.refusals.extend([refusal(UNAVAILABLE, "STORE_UNAVAILABLE", "The job store does not answer.")] * 9)
    async with client_of(address) as client:
        with pytest.raises(ClientError) as raised:
            await client.get_job(JOB_ID)
    assert (raised.value.reason, len(service.requests)) == ("STORE_UNAVAILABLE", 4)


async def test_an_error_has_the_reason_all_violations_and_when_to_come_back(service: ScriptedService, address: str) -> None:
    fields = [("ttl_minutes", "must be from 5 to 1440"), ("source", "is missing")]
    code = grpc.StatusCode.INVALID_ARGUMENT
    service.refusals.append(refusal(code, "INVALID_REQUEST", "two fields", violations=fields, retry_seconds=7))
    async with client_of(address) as client:
        with pytest.raises(ClientError) as raised:
            await client.get_job(JOB_ID)
    error = raised.value
    assert (error.code, error.reason, error.message) == (code, "INVALID_REQUEST", "two fields")
    assert [(v.field, v.description) for v in error.violations] == fields
    assert error.retry_after == timedelta(seconds=7)
    assert error.metadata == {"request_id": "r-1"}


async def test_lists_follow_pages_up_to_the_limit(service: ScriptedService, address: str) -> None:
    service.jobs = {f"clone-{number:012x}": job(1, job_id=f"clone-{number:012x}") for number in range(450)}
    async with client_of(address) as client:
        jobs = await client.list_jobs(status="running", limit=410)
        everything = await client.list_jobs(limit=1000)
    assert len({one.job_id for one in jobs}) == 410
    assert len(everything) == 450
    assert [request.page_size for request in service.requests[:3]] == [200, 200, 10]  # type: ignore[attr-defined]
