"""Rings the jobs that should run and do not: pending ones that are due, running ones whose lease has ended, overdue ones.

It reads MySQL, so lost messages, a wiped broker or a killed worker cost seconds and no job.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from wpclone.core.bus import Bus
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import BusUnavailable, StoreUnavailable
from wpclone.core.jobs.job import Ring
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

PER_CUSTOMER = 100
"""Rings a pass and customer, so that one customer's flood does not delay another's few."""

MOST = 500
"""Rings a pass."""

ENSURE_EVERY = 10.0
"""Seconds between two looks at the stream and its consumers."""

CALM = 5.0
"""Seconds after the store's return in which expired leases are left alone: their workers renew or hand back first."""

_NEVER = timedelta(days=1)


class Relay:
    """One worker's relay."""

    def __init__(self, store: JobStore, bus: Bus, clock: Clock, metrics: Metrics) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._store_is_back: float | None = None
        self._ensured: float | None = None

    async def once(self) -> None:
        """Ring what is due. Raises StoreUnavailable, BusUnavailable."""
        self._metrics.bus_connected.set(self._bus.is_connected)
        if not self._bus.is_connected:
            return
        await self._ensure()
        rings = await self._due()
        for number, ring in enumerate(rings):
            try:
                await self._bus.ring(ring)
            except BusUnavailable:
                await self._store.unring([left.job_id for left in rings[number:]])
                raise
            self._metrics.rings.inc()

    async def _due(self) -> list[Ring]:
        now = self._clock.monotonic()
        is_calm = self._store_is_back is not None and now - self._store_is_back >= CALM
        try:
            rings = await self._store.due(per_customer=PER_CUSTOMER, most=MOST, quiet=timedelta(0) if is_calm else _NEVER)
        except StoreUnavailable:
            self._store_is_back = None
            raise
        if self._store_is_back is None:
            self._store_is_back = now
        return rings

    async def _ensure(self) -> None:
        now = self._clock.monotonic()
        if self._ensured is not None and now - self._ensured < ENSURE_EVERY:
            return
        if await self._bus.ensure():
            _log.warning("relay.stream_made_anew", jobs=await self._store.ring_all_again())
        self._ensured = now
