"""How many calls run at once: those that last (watch, wait, v1) have a limit of their own, so that they never starve the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from wpclone.core.jobs.errors import LimitReached

LASTING = frozenset({"Clone", "Restore", "WatchJob", "WaitJob"})
RETRY_AFTER = timedelta(seconds=1)


class Admission:
    """Counts the calls at work in each of the two groups."""

    def __init__(self, *, most_short: int = 512, most_lasting: int = 10_000) -> None:
        self._most = {False: most_short, True: most_lasting}
        self._now = {False: 0, True: 0}
        self._settled = asyncio.Event()

    @contextmanager
    def admit(self, method: str) -> Iterator[None]:
        """Hold a place for one call of this method. Raises LimitReached when none is free."""
        group = method in LASTING
        if self._now[group] >= self._most[group]:
            raise LimitReached("This server is busy; try again.", retry_after=RETRY_AFTER, metadata={"limit": "calls"})
        self._now[group] += 1
        try:
            yield
        finally:
            self._now[group] -= 1
            if not any(self._now.values()):
                self._settled.set()

    async def settle(self, *, within: float) -> bool:
        """Wait until no call is at work, at most `within` seconds; whether that came true."""
        self._settled.clear()
        if not any(self._now.values()):
            return True
        try:
            async with asyncio.timeout(within):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True
