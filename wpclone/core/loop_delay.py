"""How late the event loop wakes: a loop that something blocks answers nobody, and nothing else in the process shows it."""

from __future__ import annotations

import structlog

from wpclone.core.clock import Clock
from wpclone.core.metrics import Metrics

_log = structlog.get_logger(__name__)

NAP = 0.25
"""Seconds between two measurements."""

BLOCKED = 1.0
"""Seconds of delay that are worth a line in the log."""


class LoopDelay:
    """Measures one process's event loop."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics

    async def once(self) -> None:
        """One measurement: how much longer than asked for a nap took."""
        begun = self._clock.monotonic()
        await self._clock.sleep(NAP)
        late = max(0.0, self._clock.monotonic() - begun - NAP)
        self._metrics.loop_delay_seconds.observe(late)
        if late >= BLOCKED:
            _log.warning("loop.blocked", seconds=round(late, 2))
