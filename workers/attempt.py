"""One attempt at a step's work: under a deadline, under orders, with its progress written beside it.

Whatever ends the attempt, it does not return before the work has really stopped: two attempts must never overlap. Work that
does not stop is reported through `on_stuck`, and the lease guard then ends the process in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from workers.orders import Orders
from workers.progress import Meter
from wpclone.core.clock import Clock
from wpclone.core.supervise import end

T = TypeVar("T")

GRACE = 10.0
"""Seconds that cut work has to stop before it counts as stuck."""


class Cut(Exception):
    """The work was stopped before it was done; `by` says why."""

    def __init__(self, by: CutBy) -> None:
        super().__init__(by.name)
        self.by = by


class CutBy(Enum):
    """What stopped the work."""

    ORDERS = "orders"
    DEADLINE = "deadline"


@dataclass(frozen=True)
class Limits:
    """How long the work may take in seconds, and which orders may cut it."""

    seconds: float
    resumable: bool = False
    cancellable: bool = True


class Attempts:
    """Runs attempts for one worker."""

    def __init__(self, clock: Clock, *, on_stuck: Callable[[str], None]) -> None:
        self._clock = clock
        self._on_stuck = on_stuck

    async def run(
        self, work: Coroutine[Any, Any, T], *, job_id: str, limits: Limits, orders: Orders, meter: Meter | None = None
    ) -> T:
        """The work's result, or what it raised. Raises Cut when it was stopped, StaleClaim when a progress write was refused."""
        working = asyncio.create_task(work)
        overdue = asyncio.create_task(self._clock.sleep(limits.seconds))
        ordered = asyncio.create_task(orders.cut(resumable=limits.resumable, cancellable=limits.cancellable))
        beside = [overdue, ordered]
        if meter is not None:
            beside.append(asyncio.create_task(meter.run()))
        try:
            await asyncio.wait([working, *beside], return_when=asyncio.FIRST_COMPLETED)
            was_cut = not working.done()
        finally:
            try:
                await self._stop(working, job_id)
            finally:
                await end(*beside)
        if not working.cancelled() and not (was_cut and working.exception()):
            return working.result()
        if not was_cut:
            raise RuntimeError("the work was cancelled from inside")
        raise _why(overdue, ordered, beside[2:])

    async def _stop(self, working: asyncio.Task[T], job_id: str) -> None:
        """Cancel and wait for the end, however often this is cancelled itself meanwhile."""
        if working.done():
            return
        working.cancel()
        watch = asyncio.create_task(self._watch(working, job_id))
        again: asyncio.CancelledError | None = None
        while not working.done():
            try:
                await asyncio.wait([working])
            except asyncio.CancelledError as error:
                again = error
        watch.cancel()
        if again is not None:
            raise again

    async def _watch(self, working: asyncio.Task[T], job_id: str) -> None:
        """Cancel once more at half time, for a cancel can be lost (see `end`), but not sooner: work may be cleaning up."""
        for last in (False, True):
            await self._clock.sleep(GRACE / 2)
            if working.done():
                return
            if last:
                self._on_stuck(job_id)
            else:
                working.cancel()


def _why(overdue: asyncio.Task[None], ordered: asyncio.Task[None], meters: list[asyncio.Task[None]]) -> BaseException:
    for meter in meters:
        if meter.done() and not meter.cancelled() and (refused := meter.exception()):
            return refused
    is_ordered = ordered.done() and not ordered.cancelled()
    return Cut(CutBy.ORDERS if is_ordered else CutBy.DEADLINE)
