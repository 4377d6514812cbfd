"""Keeps the gauges that only the store knows: the queue's depth and age, and the jobs that need attention."""

from __future__ import annotations

from dataclasses import dataclass

from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore


@dataclass(frozen=True)
class Measure:
    """Reads the store into gauges."""

    store: JobStore
    metrics: Metrics

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable."""
        depth = await self.store.queue_depth()
        self.metrics.queue_depth.set(depth.runnable)
        self.metrics.queue_oldest_seconds.set(depth.oldest_seconds)
        self.metrics.needs_attention.set(await self.store.needs_attention())
