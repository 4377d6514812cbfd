"""Opens the job store at start, with a little patience: a store that restarts beside us is no reason to give up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import StoreUnavailable

T = TypeVar("T")
_log = structlog.get_logger(__name__)

PATIENCE = 10.0
"""Seconds; longer, and somebody should be told that the address may be wrong."""

AGAIN = 0.5
"""Seconds between two tries."""


async def opened(open_store: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """The store. Raises StoreUnavailable when patience ends, and at once whatever else opening raises."""
    ends = clock.monotonic() + PATIENCE
    while True:
        try:
            return await open_store()
        except StoreUnavailable as error:
            if clock.monotonic() >= ends:
                raise
            _log.warning("worker.waits_for_store", error=error.message)
            await clock.sleep(AGAIN)
