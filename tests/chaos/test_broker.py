"""NATS away, NATS wiped, messages repeated: the broker is only the doorbell."""

import asyncio
import shutil
import time

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.history import judge
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


async def test_ten_deliveries_of_each_ring_do_nothing_twice(place: Field) -> None:
    for _ in range(3):
        place.start(slots=8)
    jobs = await place.accept(60, millis=40)
    for turn in range(10):
        for job_id in reversed(jobs):
            await place.bus.ring(Ring(job_id, 1000 + turn, Priority.NORMAL))
    await place.ended(jobs, within=90)
    note("R13 every ring delivered ten more times, out of order", judge(place))
    assert place.count("SELECT MAX(fence) FROM jobs") == 1
