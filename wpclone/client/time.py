"""The clock the library goes by, so that tests can pass their own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Time(Protocol):
    """Monotonic seconds, and waiting."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemTime:
    """The real one."""

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)
