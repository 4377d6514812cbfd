"""A loop that never dies silently: repeated with jitter, restarted with growing pauses, each failure logged; and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import BusUnavailable, StoreUnavailable
from wpclone.core.jobs.retry import Chance

_log = structlog.get_logger(__name__)

LONGEST_PAUSE = 10.0
"""Seconds; no failure puts a loop off for longer, unless it runs less often anyway."""

CANCEL_AGAIN = 2.0
"""Seconds after which a task that goes on is cancelled again."""


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and return when all have ended; what they raised is not raised here.

    A cancel is repeated until it is heeded: on Python 3.11 `asyncio.wait_for`, which nats-py and aiomysql wait in, forgets one
    that comes in the same turn as the answer (python/cpython#86296), and a loop around it would go on for ever.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=CANCEL_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class Loop:
    """A pass to repeat: its name in logs, and the seconds between two passes, jittered by a quarter."""

    name: str
    once: Callable[[], Awaitable[None]]
    every: float


class Supervisor:
    """Keeps loops going."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance

    async def keep(self, loop: Loop) -> None:
        """Repeat the pass until cancelled. Outages are expected and logged in a line; anything else with its stack."""
        failures = 0
        while True:
            try:
                await loop.once()
                failures = 0
            except (StoreUnavailable, BusUnavailable) as error:
                failures += 1
                _log.warning("loop.waits", loop=loop.name, failures=failures, error=error.message)
            except Exception:
                failures += 1
                _log.exception("loop.failed", loop=loop.name, failures=failures)
            await self._clock.sleep(self._pause(loop, failures))

    def _pause(self, loop: Loop, failures: int) -> float:
        jittered = loop.every * (0.75 + 0.5 * self._chance())
        return jittered if failures == 0 else max(jittered, min(LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 8)) * self._chance())
