"""Wait for a fact, never for time."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE = threading.Event()


def until(check: Callable[[], T], *, within: float, every: float = 0.05) -> T:
    """The first truthy value of `check`; AssertionError after `within` seconds, naming the last value."""
    end = time.monotonic() + within
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not true within {within} s: {check!r} (last: {value!r})")
        _PAUSE.wait(every)


async def until_async(check: Callable[[], Awaitable[T]], *, within: float, every: float = 0.05) -> T:
    """`until` for a coroutine function."""
    end = time.monotonic() + within
    while True:
        value = await check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not true within {within} s: {check!r} (last: {value!r})")
        await asyncio.sleep(every)


async def until_holds(condition: Callable[[], bool], *, within: float) -> None:
    """`until_async` for what needs no waiting to look at. Raises TimeoutError."""

    async def look() -> bool:
        return condition()

    await until_async(look, within=within)
