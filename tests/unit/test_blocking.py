"""Blocking work has ended when the await of it has."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.support.wait import until_async
from wpclone.wordpress.blocking import ITEMS_AT_ONCE, blocking, in_parts


class Held:
    """Work that lasts until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.has_ended = False

    def work(self, result: object) -> object:
        self.begun.set()
        self.go.wait(30)
        self.has_ended = True
        if isinstance(result, Exception):
            raise result
        return result


async def begun(held: Held, result: object = None) -> "asyncio.Task[object]":
    """The await of work that has begun."""
    task = asyncio.create_task(blocking(held.work, result))
    await asyncio.to_thread(held.begun.wait, 30)
    return task


async def test_it_gives_what_the_work_returns_and_raises_what_it_raises() -> None:
    assert await blocking(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await blocking(divmod, 7, 0)


@pytest.mark.parametrize("result", [1, ValueError("lost")], ids=["returns", "raises"])
async def test_a_cut_waits_for_the_thread_however_often_it_is_cut(result: object) -> None:
    held = Held()
    task = await begun(held, result)
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        assert not task.done()
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.has_ended


async def test_a_deadline_waits_for_the_thread_too() -> None:
    held = Held()

    async def limited() -> None:
        async with asyncio.timeout(0.01):
            await blocking(held.work, 1)

    async def is_over() -> bool:
        return task.cancelling() > 0

    task = asyncio.create_task(limited())
    await until_async(is_over, within=30)
    assert not task.done()
    held.go.set()
    with pytest.raises(TimeoutError):
        await task
    assert held.has_ended


async def test_a_generator_gives_what_it_yields_to_its_end() -> None:
    assert await in_parts(iter(range(3 * ITEMS_AT_ONCE + 7))) == list(range(3 * ITEMS_AT_ONCE + 7))


async def test_a_generator_that_is_cut_stops_at_a_yield_soon_after() -> None:
    begun, cut, count = threading.Event(), threading.Event(), 0

    def endless() -> Iterator[None]:
        nonlocal count
        while True:
            count += 1
            begun.set()
            if count == 10:
                cut.wait(30)
            yield

    task = asyncio.create_task(in_parts(endless()))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    cut.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 10 <= count <= ITEMS_AT_ONCE
    seen = count
    await asyncio.sleep(0)
    assert count == seen
