"""Loops of this process that never die silently: run anew after each failure, with growing pauses, each failure logged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import BusUnavailable, StoreUnavailable
from wpclone.core.jobs.retry import Chance

_log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 10.0


async def keep(name: str, once: Callable[[], Awaitable[None]], *, every: float, clock: Clock, chance: Chance) -> None:
    """Run `once`, pause for `every` seconds (jittered by a quarter), and so on until cancelled.

    Outages of MySQL and NATS are expected and logged in a line, anything else with its stack; neither ends the loop.
    """
    failures = 0
    while True:
        try:
            await once()
            failures = 0
        except (StoreUnavailable, BusUnavailable) as error:
            failures += 1
            _log.warning("loop.waits", loop=name, failures=failures, error=error.message)
        except Exception:
            failures += 1
            _log.exception("loop.failed", loop=name, failures=failures)
        pause = every * (0.75 + 0.5 * chance())
        if failures:
            pause = max(pause, min(_LONGEST_PAUSE, 0.25 * 2.0 ** min(failures, 8) * chance()))
        await clock.sleep(pause)
