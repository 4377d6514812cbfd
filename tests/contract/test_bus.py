"""The promises of `core.bus`, kept in memory and on a real nats-server alike."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.support.wait import until_async
from wpclone.core.bus import Bus, subjects
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority

JOB = "clone-00000000000a"


async def test_a_ring_is_taken_once_with_all_it_says(bus: Bus) -> None:
    ring = Ring(JOB, 3, Priority.HIGH, "00-trace-span-01")
    await bus.ring(ring)
    delivery = await bus.take(Priority.HIGH, wait=2)
    assert delivery is not None
    assert delivery.ring == ring
    await delivery.ack()
    assert await bus.take(Priority.HIGH, wait=0.3) is None


async def test_priorities_are_queues_of_their_own(bus: Bus) -> None:
    await bus.ring(Ring(JOB, 1, Priority.LOW))
    assert await bus.take(Priority.HIGH, wait=0.3) is None
    assert await bus.take(Priority.NORMAL, wait=0.3) is None
    assert await bus.take(Priority.LOW, wait=2) is not None


async def test_the_same_message_is_swallowed_and_a_deliberate_repeat_is_not(bus: Bus) -> None:
    for sequence in (1, 1, 2):
        await bus.ring(Ring(JOB, sequence, Priority.NORMAL))
    taken = []
    while (delivery := await bus.take(Priority.NORMAL, wait=0.5)) is not None:
        await delivery.ack()
        taken.append(delivery.ring)
    assert [ring.enqueue_seq for ring in taken if ring is not None] == [1, 2]


async def test_a_ring_put_back_comes_at_once_to_the_next_who_asks(bus: Bus) -> None:
    ring = Ring(JOB, 1, Priority.NORMAL)
    await bus.ring(ring)
    first = await bus.take(Priority.NORMAL, wait=2)
    assert first is not None
    await first.put_back()
    second = await bus.take(Priority.NORMAL, wait=3)
    assert second is not None
    assert second.ring == ring
    await second.ack()


async def test_storage_grows_with_rings_and_falls_with_acknowledgements(bus: Bus) -> None:
    for sequence in range(1, 4):
        await bus.ring(Ring(JOB, sequence, Priority.NORMAL))
    full = await bus.storage()
    assert full.used > 3 * len(JOB)
    for _ in range(3):
        delivery = await bus.take(Priority.NORMAL, wait=2)
        assert delivery is not None
        await delivery.ack()

    async def has_fallen() -> bool:
        return (await bus.storage()).used < full.used

    await until_async(has_fallen, within=5)


async def test_rings_come_in_order_and_a_waiting_taker_gets_one_at_once(bus: Bus) -> None:
    waiting = asyncio.create_task(bus.take(Priority.NORMAL, wait=10))
    await asyncio.sleep(0)
    for n in range(1, 6):
        await bus.ring(Ring(f"clone-{n:012x}", 1, Priority.NORMAL))
    async with asyncio.timeout(2):
        first = await waiting
    others = [await bus.take(Priority.NORMAL, wait=2) for _ in range(4)]
    assert [d.ring.job_id for d in [first, *others] if d is not None and d.ring is not None] == [
        f"clone-{n:012x}" for n in range(1, 6)
    ]


async def test_a_cancelled_taker_loses_no_ring(bus: Bus) -> None:
    waiting = asyncio.create_task(bus.take(Priority.NORMAL, wait=20))
    assert await bus.take(Priority.LOW, wait=0.2) is None
    waiting.cancel()
    await asyncio.wait([waiting])
    await bus.ring(Ring(JOB, 1, Priority.NORMAL))
    delivery = await bus.take(Priority.NORMAL, wait=15)
    assert delivery is not None


async def test_what_is_told_reaches_every_listener_of_a_matching_subject(bus: Bus) -> None:
    heard: list[list[tuple[str, Mapping[str, Any]]]] = [[], [], []]

    async def listen(to: list[tuple[str, Mapping[str, Any]]], subject: str) -> None:
        async for item in bus.listen(subject):
            to.append(item)

    subscribed = [subjects.EVENTS, subjects.event(JOB), subjects.CANCELS]
    tasks = [asyncio.create_task(listen(to, subject)) for to, subject in zip(heard, subscribed, strict=True)]

    async def hears() -> bool:
        await bus.tell(subjects.event(JOB), {"hello": True})
        return bool(heard[0] and heard[1])

    try:
        await until_async(hears, within=5)
        await bus.tell(subjects.event(JOB), {"revision": 7, "text": "ü"})

        async def both() -> bool:
            return all((subjects.event(JOB), {"revision": 7, "text": "ü"}) in to for to in heard[:2])

        await until_async(both, within=5)
        assert heard[2] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_telling_nobody_is_fine_and_what_is_in_order_is_not_made_anew(bus: Bus) -> None:
    await bus.tell(subjects.cancel(JOB), {})
    assert await bus.ensure() in (True, False)
    assert await bus.ensure() is False
    assert bus.is_connected
