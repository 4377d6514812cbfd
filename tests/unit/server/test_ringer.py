"""What is published after a commit: in turns, bounded, and dropped rather than waited for."""

import asyncio
from dataclasses import replace

from server.ringer import MOST_CUSTOMERS, MOST_WAITING, Ringer
from tests.support.clock import START
from tests.support.jobs import new_clone_job
from wpclone.core.bus import subjects
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, Priority


def job(number: int, customer: str) -> Job:
    return replace(new_clone_job(number), customer_id=customer).accepted(START)


async def rung(bus: MemoryBus) -> list[str]:
    found = []
    while delivery := await bus.take(Priority.NORMAL, wait=0):
        assert delivery.ring is not None
        found.append(delivery.ring.job_id)
        await delivery.ack()
    return found


async def test_customers_take_turns() -> None:
    bus = MemoryBus()
    ringer = Ringer(bus)
    flood, few = [job(number, "acme") for number in range(1, 11)], [job(number, "globex") for number in (21, 22)]
    for one in (*flood, *few):
        ringer.publish(one)
    for _ in range(12):
        await ringer.once()
    order = await rung(bus)
    assert order[:4] == [flood[0].job_id, few[0].job_id, flood[1].job_id, few[1].job_id]
    assert order[4:] == [one.job_id for one in flood[2:]]


async def test_a_flood_drops_its_own_rings_and_nobody_elses() -> None:
    bus = MemoryBus()
    ringer = Ringer(bus)
    for number in range(1, MOST_WAITING + 50):
        ringer.publish(job(number, "acme"))
    other = job(9999, "globex")
    ringer.publish(other)
    for _ in range(MOST_WAITING + 1):
        await ringer.once()
    order = await rung(bus)
    assert (len(order), other.job_id in order) == (MOST_WAITING + 1, True)


async def test_what_waits_is_bounded_however_many_customers_there_are() -> None:
    ringer = Ringer(MemoryBus())
    for number in range(MOST_CUSTOMERS + 10):
        ringer.publish(job(number, f"c{number}"))
    assert len(ringer._waiting) == MOST_CUSTOMERS


async def test_a_cancel_does_not_wait_for_anothers_thousand_jobs() -> None:
    bus = MemoryBus()
    ringer, told = Ringer(bus), bus.listen(subjects.CANCELS)
    for number in range(1, 200):
        ringer.publish(job(number, "acme"))
    cancelled = replace(job(500, "globex"), state=JobState.RUNNING, fence=1, cancel_requested_at=START)
    ringer.publish(cancelled)
    for _ in range(2):
        await ringer.once()
    async with asyncio.timeout(5):
        assert (await anext(told))[0] == subjects.cancel(cancelled.job_id)


async def test_nothing_waits_for_a_bus_that_is_away() -> None:
    bus = MemoryBus()
    ringer = Ringer(bus)
    bus.cut()
    ringer.publish(job(1, "acme"))
    bus.mend()
    late = job(2, "acme")
    publishing = asyncio.create_task(ringer.once())
    await asyncio.sleep(0)
    ringer.publish(late)
    async with asyncio.timeout(5):
        await publishing
    assert await rung(bus) == [late.job_id]
