"""What the bus does when NATS is down, comes back, forgets, or sends garbage."""

import asyncio
import threading

import pytest
import uvloop
from nats.aio.client import Client

from tests.support.buses import connected, connected_bus, wipe
from tests.support.fault_proxy import Direction, fault_proxy
from tests.support.servers import Nats
from tests.support.wait import until, until_async, until_holds
from wpclone.core.bus import subjects
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.jobs.errors import BusUnavailable
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority

RING = Ring("clone-00000000000a", 1, Priority.NORMAL)


@pytest.fixture
def own_nats(nats_server: Nats) -> Nats:
    """The session's server; whoever stops it starts it again."""
    return nats_server


async def test_opening_does_not_wait_for_a_broker_that_is_down(own_nats: Nats) -> None:
    await asyncio.to_thread(own_nats.stop)
    try:
        async with asyncio.timeout(1):
            bus = await JetStreamBus.open(own_nats.url)
        assert not bus.is_connected
        with pytest.raises(BusUnavailable):
            await bus.ring(RING)
        with pytest.raises(BusUnavailable):
            await bus.take(Priority.NORMAL, wait=1)
        with pytest.raises(BusUnavailable):
            await bus.ensure()
        await bus.tell("jobs.event.x", {})
    finally:
        await asyncio.to_thread(own_nats.start)
    try:
        await connected(bus)
        await bus.ring(RING)
        # The first take may come before the consumers are made anew, and then says at once that there is nothing.
        assert await until_async(lambda: bus.take(Priority.NORMAL, wait=1), within=10)
    finally:
        await bus.close()


async def test_a_restart_of_the_broker_loses_no_ring_and_listeners_hear_on(own_nats: Nats) -> None:
    heard: list[object] = []

    async def listen(bus: JetStreamBus) -> None:
        async for _, payload in bus.listen(subjects.EVENTS):
            heard.append(payload)

    async with connected_bus(own_nats) as bus:
        listener = asyncio.create_task(listen(bus))
        await bus.ring(RING)
        await asyncio.to_thread(own_nats.stop)
        await until_async(lambda: _is(not bus.is_connected), within=10)
        await asyncio.to_thread(own_nats.start)
        await connected(bus, within=20)
        delivery = await bus.take(Priority.NORMAL, wait=5)
        assert delivery is not None
        assert delivery.ring == RING

        async def hears() -> bool:
            await bus.tell(subjects.event(RING.job_id), {})
            return bool(heard)

        await until_async(hears, within=10)
        listener.cancel()
        await asyncio.wait([listener])


async def test_a_bus_that_closes_while_the_broker_is_away_leaves_nothing_that_goes_on(own_nats: Nats) -> None:
    before = asyncio.all_tasks()
    async with connected_bus(own_nats) as bus:
        await asyncio.to_thread(own_nats.stop)
        try:
            await until_async(lambda: _is(not bus.is_connected), within=10)
            # The loop stands still past the next try to connect: its refusal comes in the same turn as the close.
            threading.Event().wait(1.5)
            await bus.close()
            await until_async(lambda: _is(asyncio.all_tasks() <= before), within=20)
        finally:
            await asyncio.to_thread(own_nats.start)


def test_a_bus_whose_first_connection_is_cut_closes_without_a_word(own_nats: Nats) -> None:
    """On uvloop, as workers run: nats-py says goodbye to a transport that was closed under it."""

    async def cut_and_close() -> None:
        for way in Direction:
            for place in range(1, 700, 9):
                proxy.faults.cut_after[way] = place
                before = proxy.connections
                bus = await JetStreamBus.open(own_nats.url.replace(str(own_nats.place.port), str(proxy.port)))
                await until_holds(lambda seen=before: proxy.connections > seen, within=10)  # type: ignore[misc]
                proxy.faults.cut_after.clear()
                await bus.close()

    with fault_proxy(own_nats.place.port) as proxy:
        uvloop.run(cut_and_close())


async def test_a_lost_stream_is_made_anew_by_the_next_ring_and_somebody_is_told(own_nats: Nats) -> None:
    told: list[bool] = []

    async def anew() -> None:
        told.append(True)

    await wipe(own_nats)
    bus = await JetStreamBus.open(own_nats.url, anew=anew)
    try:
        await connected(bus)
        assert await bus.ensure() is True
        await until_async(lambda: _is(told == [True]), within=5)
        await wipe(own_nats)
        await bus.ring(RING)
        assert await bus.ensure() is True
        assert await bus.ensure() is False
        await until_async(lambda: _is(told == [True, True]), within=5)
        delivery = await bus.take(Priority.NORMAL, wait=5)
        assert delivery is not None
    finally:
        await bus.close()


async def test_garbage_is_delivered_as_no_ring_so_that_it_can_be_acknowledged(own_nats: Nats) -> None:
    async with connected_bus(own_nats) as bus:
        client = Client()
        await client.connect(own_nats.url, connect_timeout=5)
        for garbage in (b"\xff", b"[]", b'{"job_id": 1}', b'{"job_id": "clone-1", "enqueue_seq": 1}'):
            await client.jetstream().publish(subjects.run(Priority.NORMAL), garbage)
        await client.close()
        for _ in range(4):
            delivery = await bus.take(Priority.NORMAL, wait=5)
            assert delivery is not None
            assert delivery.ring is None
            await delivery.ack()


async def test_an_unacknowledged_ring_comes_again_after_ten_seconds(own_nats: Nats) -> None:
    async with connected_bus(own_nats) as bus:
        await bus.ring(RING)
        first = await bus.take(Priority.NORMAL, wait=2)
        assert first is not None
        loop = asyncio.get_running_loop()
        taken = loop.time()
        again = await bus.take(Priority.NORMAL, wait=15)
        assert again is not None
        assert 8 < loop.time() - taken < 14


async def test_a_take_on_a_lost_consumer_does_not_spin(own_nats: Nats) -> None:
    async with connected_bus(own_nats) as bus:
        taking = asyncio.create_task(bus.take(Priority.HIGH, wait=3))
        assert await bus.take(Priority.LOW, wait=0.2) is None
        await wipe(own_nats)
        assert await taking is None
        takes = 0
        loop = asyncio.get_running_loop()
        end = loop.time() + 2
        while loop.time() < end:
            await bus.take(Priority.HIGH, wait=1)
            takes += 1
        assert takes <= 8
        await bus.ring(Ring("clone-00000000000b", 1, Priority.HIGH))
        assert await bus.take(Priority.HIGH, wait=5) is not None


def test_the_sessions_server_is_left_running(own_nats: Nats) -> None:
    until(lambda: own_nats.child.exit_code is None, within=1)


async def _is(fact: bool) -> bool:
    return fact
