"""Workers that stand still past their lease, and wake; and workers whose event loop stands still while the lease is kept."""

import asyncio
import signal

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.chaos_worker import STEPS
from tests.support.fault_proxy import Direction, fault_proxy
from tests.support.history import judge
from tests.support.wait import until_async

EXITED = 70
"""What a worker exits with that finds its lease over with a step still running."""


async def zombies(place: Field, points: list[str], *, unguarded: bool) -> None:
    """Workers stop at these points, others finish their jobs, then the first ones wake and go on where they were."""
    asleep = [place.start(failpoint=f"{point}:stop", slots=1, unguarded=unguarded) for point in points]
    await place.accept(len(points))

    async def all_sleep() -> bool:
        awake = sum(_state(member.process.pid) != "T" for member in asleep)
        if awake > await asyncio.to_thread(place.count, "SELECT COUNT(*) FROM jobs WHERE status = 'pending'"):
            await place.accept(1)
        return awake == 0

    await until_async(all_sleep, within=60, every=0.2)
    for _ in range(2):
        place.start(slots=8)
    await place.ended(place.accepted, within=90)
    for member in asleep:
        member.send(signal.SIGCONT)

    async def all_know() -> bool:
        refused = await asyncio.to_thread(place.rows, "SELECT DISTINCT worker FROM writes WHERE revision IS NULL")
        told = {worker for (worker,) in refused} | {member.name for member in asleep if member.process.returncode == EXITED}
        return told >= {member.name for member in asleep}

    await until_async(all_know, within=30)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


POINTS = [f"{step}.{at}" for step in STEPS for at in ("before_effect", "after_effect")]


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_worker_that_slept_past_its_lease_writes_nothing(place: Field) -> None:
    await zombies(place, POINTS[:4], unguarded=False)
    note("R3 SIGSTOP past the lease, then SIGCONT", judge(place))
    assert place.ids("status <> 'completed'") == []


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_twenty_workers_that_slept_write_nothing(place: Field) -> None:
    await zombies(place, POINTS * 2, unguarded=False)
    note("R3 SIGSTOP past the lease, then SIGCONT, 20 at once", judge(place))


@pytest.mark.timeout(300)
async def test_without_the_guard_the_fence_alone_refuses_each_write(place: Field) -> None:
    await zombies(place, POINTS, unguarded=True)
    findings = judge(place)
    note("R3 the same with the lease guard off: the fence alone", findings)
    assert findings.refused >= len(POINTS)
    assert place.ids("status <> 'completed'") == []


@pytest.mark.full
async def test_a_blocked_event_loop_loses_no_lease(place: Field) -> None:
    place.start(slots=4)
    blocked = await place.accept(1, blocks_at="fill")
    beside = await place.accept(3, millis=1000)
    await until_async(lambda: asyncio.to_thread(place.count, "SELECT COUNT(*) FROM effects WHERE step = 'fill'"), within=20)
    place.start(slots=4)
    await place.ended(blocked + beside, within=60)
    note("R23 event loop blocked for 20 s", judge(place))
    assert place.ids("lapses > 0") == []
    assert place.count("SELECT MAX(fence) FROM jobs") == 1


@pytest.mark.full
@pytest.mark.timeout(400)
async def test_fifty_blocks_of_event_loops_lose_no_lease(place: Field) -> None:
    """Five in a row at each of ten workers, which renew all their leases meanwhile.

    The steps before are long: a claim whose answer is on its way when the loop stands still is not known to its worker, so that
    nobody renews it.
    """
    for _ in range(10):
        place.start(slots=5)
    blocked = await place.accept(50, blocks_at="fill", millis=6000)
    await until_async(lambda: asyncio.to_thread(lambda: place.count("SELECT COUNT(*) FROM claims") == 50), within=60)
    for _ in range(2):
        place.start(slots=4)
    await place.ended(blocked, within=300)
    assert place.ids("lapses > 0") == []
    assert place.count("SELECT MAX(fence) FROM jobs") == 1
    note("R23 event loops blocked for 20 s, 50 times", judge(place))


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_blocked_event_loop_that_cannot_renew_ends_with_its_process_before_the_lease_does(place: Field) -> None:
    with fault_proxy(place.mariadb.place.port) as proxy:
        blocked = place.start(slots=4, database_port=proxy.port)
        jobs = await place.accept(3, millis=3000) + await place.accept(1, blocks_at="fill")
        await until_async(lambda: asyncio.to_thread(place.count, "SELECT COUNT(*) FROM effects WHERE step = 'fill'"), within=20)
        proxy.faults.swallow |= set(Direction)

        async def has_ended() -> bool:
            return not blocked.is_alive

        await until_async(has_ended, within=20)
        ((leased_until,),) = place.rows("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', MIN(lease_until)) / 1e6 FROM claims")
    assert blocked.process.returncode == EXITED
    assert blocked.ended_at is not None
    assert blocked.ended_at < leased_until
    place.start(slots=4)
    await place.ended(jobs, within=90)
    note("R23 event loop blocked for 20 s, and cut off from MySQL", judge(place))
