"""Time as a parameter: what wants the time, a pause or a stopwatch is given a Clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of this process. What several processes compare uses the database's clock instead."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Pause; returns at once when `seconds` is not positive."""


class SystemClock:
    """The clock of the machine; only composition roots make one."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Pause; returns at once when `seconds` is not positive."""
        await asyncio.sleep(max(0.0, seconds))
