"""Loops that never end by themselves."""

import asyncio
from itertools import pairwise

import pytest

from tests.support.clock import ManualClock
from tests.support.wait import until_async
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.supervise import Loop, Supervisor, end


async def test_a_loop_that_fails_is_repeated_with_growing_pauses_and_never_ends() -> None:
    clock = ManualClock()
    passes: list[float] = []

    async def once() -> None:
        passes.append(clock.monotonic())
        raise RuntimeError("always")

    keeping = asyncio.create_task(Supervisor(clock, lambda: 0.99).keep(Loop("played", once, 1.0)))

    async def five() -> bool:
        clock.advance(0.5)
        return len(passes) >= 5

    await until_async(five, within=2, every=0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    pauses = [after - before for before, after in pairwise(passes)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]


async def test_a_loop_that_fails_is_not_repeated_sooner_than_its_time() -> None:
    clock, passes = ManualClock(), 0

    async def once() -> None:
        nonlocal passes
        passes += 1
        raise StoreUnavailable

    async def has_failed() -> bool:
        return passes == 1

    keeping = asyncio.create_task(Supervisor(clock, lambda: 0.5).keep(Loop("rare", once, 600.0)))
    await until_async(has_failed, within=2, every=0)
    clock.advance(599)
    await asyncio.sleep(0)
    assert passes == 1
    clock.advance(1)
    await asyncio.sleep(0)
    assert passes == 2
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_loop_ends_when_it_is_cancelled() -> None:
    keeping = asyncio.create_task(Supervisor(ManualClock(), lambda: 0.5).keep(Loop("played", _forever, 1.0)))
    await asyncio.sleep(0)
    keeping.cancel()
    async with asyncio.timeout(1):
        await asyncio.gather(keeping, return_exceptions=True)


async def test_tasks_are_cancelled_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wpclone.core.supervise.CANCEL_AGAIN", 0.01)
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def deaf_while_answered() -> None:
        await asyncio.wait_for(answer, 60)
        await asyncio.wait_for(_forever(), 60)

    async def fails() -> None:
        raise RuntimeError("not for us")

    tasks = [asyncio.create_task(work()) for work in (deaf_while_answered, fails, _forever)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result(None)
    async with asyncio.timeout(5):
        await end(*tasks)
    assert all(task.done() for task in tasks)


async def _forever() -> None:
    await asyncio.Event().wait()
