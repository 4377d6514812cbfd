"""NATS away, NATS wiped, messages repeated: the broker is only the doorbell."""

import asyncio
import shutil
import time

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.fault_proxy import Direction, fault_proxy
from tests.support.history import judge
from tests.support.wait import until_async
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority


async def away(place: Field, jobs: int, *, seconds: float, backlog: float, empty: bool = False) -> None:
    """Creates while the broker is down for a while; all of them work, and the backlog is gone soon after its return."""
    for _ in range(2):
        place.start(slots=8, empty=empty)
    await place.ended(await place.accept(4), within=30)
    await asyncio.to_thread(place.nats.stop)
    down = time.monotonic()
    slowest = 0.0
    for number in range(jobs):
        begun = time.monotonic()
        await place.accept(1, millis=0 if empty else 10)
        slowest = max(slowest, time.monotonic() - begun)
        await asyncio.sleep(max(0.0, down + seconds * number / jobs - time.monotonic()))
    await asyncio.to_thread(place.nats.start)
    back = time.monotonic()
    await place.ended(place.accepted, within=backlog)
    print(f"slowest create without NATS {slowest:.2f} s; backlog drained {time.monotonic() - back:.1f} s after its return")
    assert place.ids("lapses > 0 OR status <> 'completed'") == []


async def test_creates_do_not_need_the_broker(place: Field) -> None:
    await away(place, 40, seconds=3, backlog=60)
    note("R5 NATS down during creates, 3 s", judge(place))


@pytest.mark.full
@pytest.mark.timeout(400)
async def test_a_minute_without_the_broker_during_a_thousand_creates(place: Field) -> None:
    await away(place, 1000, seconds=60, backlog=30, empty=True)  # counting effects would take longer than the jobs
    note("R5 NATS down during 1,000 creates, 60 s, steps empty", judge(place, effects=False))


async def wiped(place: Field, jobs: int, *, within: float) -> None:
    """The broker loses its disk in the middle of many jobs."""
    for _ in range(2):
        place.start(slots=8)
    await place.accept(jobs, millis=60)
    await place.ended(place.accepted[: jobs // 20], within=60)
    await asyncio.to_thread(place.nats.stop)
    shutil.rmtree(place.nats.place.directory / "store")
    await asyncio.to_thread(place.nats.start)
    await place.ended(place.accepted, within=within)
    assert place.ids("lapses > 0 OR status <> 'completed'") == []


async def test_a_wiped_broker_costs_no_job(place: Field) -> None:
    await wiped(place, 60, within=90)
    note("R6 NATS store wiped, 60 jobs", judge(place))


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_wiped_broker_costs_none_of_200_jobs(place: Field) -> None:
    await wiped(place, 200, within=200)
    note("R6 NATS store wiped, 200 jobs", judge(place))


async def rung_again(place: Field, jobs: list[str], *, turns: int) -> None:
    """While workers do these jobs, each of them is rung so many more times, the last accepted first."""
    for turn in range(turns):
        await asyncio.gather(*(place.bus.ring(Ring(job_id, 1000 + turn, Priority.NORMAL)) for job_id in reversed(jobs)))


async def test_ten_deliveries_of_each_ring_do_nothing_twice(place: Field) -> None:
    for _ in range(3):
        place.start(slots=8)
    jobs = await place.accept(60, millis=40)
    await rung_again(place, jobs, turns=10)
    await place.ended(jobs, within=90)
    note("R13 every ring delivered ten more times, out of order", judge(place))
    assert place.count("SELECT MAX(fence) FROM jobs") == 1


@pytest.mark.full
@pytest.mark.timeout(400)
async def test_ten_thousand_deliveries_do_nothing_twice(place: Field) -> None:
    for _ in range(3):
        place.start(slots=8)
    jobs = await place.accept(200, millis=400)
    await rung_again(place, jobs, turns=50)
    await place.ended(jobs, within=200)
    note("R13 every ring of 200 jobs delivered 50 more times, out of order", judge(place), n=10_000)
    assert place.count("SELECT MAX(fence) FROM jobs") == 1


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", Direction)
async def test_a_worker_half_cut_off_from_the_broker_finishes_what_it_has_and_comes_back(place: Field, way: Direction) -> None:
    with fault_proxy(place.nats.place.port) as proxy:
        far = place.start(slots=8, nats_port=proxy.port)
        jobs = await place.accept(8, millis=3000)
        held = f"SELECT COUNT(*) FROM claims WHERE worker = '{far.name}'"
        await until_async(lambda: asyncio.to_thread(lambda: place.count(held) == len(jobs)), within=30)
        proxy.faults.swallow.add(way)
        near = place.start(slots=8)
        await place.ended(jobs + await place.accept(16, millis=100), within=90)
        proxy.faults.swallow.clear()
        proxy.reset_all()
        assert await place.terminated(near) == 0
        await place.ended(await place.accept(16, millis=100), within=90)
        assert far.is_alive, place.said()
    note(f"R12 worker and NATS, nothing passes {way.value}", judge(place))
    assert place.ids("status <> 'completed' OR lapses > 0") == []
