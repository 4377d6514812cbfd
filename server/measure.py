"""Keeps the gauges that only the store and the bus know, for alerts and for whoever scales the workers.

The server tells them, not the workers: they must be there when no worker is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wpclone.core.bus import Bus
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore


@dataclass(frozen=True)
class Measure:
    """Reads store and bus into gauges."""

    store: JobStore
    bus: Bus
    metrics: Metrics

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable, BusUnavailable."""
        depth = await self.store.queue_depth()
        self.metrics.queue_depth.set(depth.runnable)
        self.metrics.queue_running.set(depth.running)
        self.metrics.queue_oldest_seconds.set(depth.oldest_seconds)
        self.metrics.needs_attention.set(await self.store.needs_attention())
        storage = await self.bus.storage()
        self.metrics.bus_storage_bytes.set(storage.used)
        self.metrics.bus_storage_limit_bytes.set(math.inf if storage.limit is None else storage.limit)
