"""Blocking work in a thread, which has ended when the await of it has, however that ends.

A thread cannot be cancelled, and `asyncio.to_thread` leaves it behind when its caller is cancelled: a copy that was cut would go
on writing beside the next attempt. So the work given to one call is to be short; a long one is a generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ITEMS_AT_ONCE = 500
"""How often a generator may yield before a cut of it is seen."""


async def blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work returns or raises. When this is cancelled, it waits for the thread and raises CancelledError then."""
    working = asyncio.create_task(asyncio.to_thread(work, *args, **kwargs))
    await ended(working)
    return working.result()


async def in_parts(work: Iterator[T]) -> list[T]:
    """What a generator of blocking work yields, to its end. When this is cancelled, the generator stops at a yield soon after."""
    found: list[T] = []
    while some := await blocking(_some, work):
        found += some
    return found


def _some(work: Iterator[T]) -> list[T]:
    return list(islice(work, ITEMS_AT_ONCE))


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait for the task's end, however often this is cancelled meanwhile; only then raises the CancelledError."""
    cut: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cut = error
    if cut is not None:
        if not task.cancelled():
            task.exception()  # looked at: whatever the work raised, what ends this is the cut
        raise cut
