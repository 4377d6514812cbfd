"""A job's progress: the weighted sum of its steps, in whole per cent, and how often it is written.

Steps report as often as they like; `Meter` keeps the newest report and writes it soon, then at most twice a second. Progress
never falls, within a claim by this file and across claims by the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import StoreUnavailable

PERIOD = 0.5
"""Seconds between two progress writes of one step."""

FIRST = 0.1
"""Seconds from a step's start, which is a write itself, to its first: what a clone's place waits for is told to people within a
second, also where one short step follows the other."""

Write = Callable[[int, str], Awaitable[None]]
"""Record (per cent, sentence). Raises StaleClaim or StoreUnavailable."""


@dataclass(frozen=True)
class Scale:
    """Where each step lies on the way from 0 to 100."""

    weights: tuple[float, ...]

    def at(self, position: int, fraction: float) -> int:
        """Per cent of the whole when the step at `position` is done to `fraction`. 100 is kept for completion."""
        share = sum(self.weights[:position]) + self.weights[position] * min(1.0, max(0.0, fraction))
        return min(99, int(100 * share / sum(self.weights)))


def scale(weights: Sequence[float]) -> Scale:
    """The scale of steps with these weights, of which at least one is positive."""
    return Scale(tuple(weights))


class Meter:
    """The newest report of the running step, on its way to the store."""

    def __init__(self, write: Write, clock: Clock, *, scale: Scale, position: int) -> None:
        self._write = write
        self._clock = clock
        self._scale = scale
        self._position = position
        self._news = asyncio.Event()
        self._newest = (0, "")

    def report(self, fraction: float, message: str) -> None:
        """What the step says; cheap."""
        per_cent = max(self._newest[0], self._scale.at(self._position, fraction))
        if (per_cent, message) != self._newest:
            self._newest = (per_cent, message)
            self._news.set()

    async def run(self) -> None:
        """Write what is new, at most once a period, until cancelled. Raises StaleClaim; an outage only skips writes."""
        pause = FIRST
        while True:
            await self._clock.sleep(pause)
            pause = PERIOD
            await self._news.wait()
            self._news.clear()
            try:
                await self._write(*self._newest)
            except StoreUnavailable:
                self._news.set()
