"""One worker: its consumer, its leases and its maintenance, kept going until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from workers.consumer import Consumer
from workers.leases import Leases
from wpclone.core.bus import Bus, subjects
from wpclone.core.supervise import Loop, Supervisor, end

_log = structlog.get_logger(__name__)

LAST_SECONDS = 15.0
"""How long cut steps and their last writes may take after the grace; then the process goes anyway."""


class Cancels:
    """Listens for cancels, so that they need not wait for the next renewal. What MySQL says then decides."""

    def __init__(self, bus: Bus, leases: Leases) -> None:
        self._bus = bus
        self._leases = leases

    async def once(self) -> None:
        """Listen until the subscription ends."""
        async for _subject, _payload in self._bus.listen(subjects.CANCELS):
            self._leases.ask_now()


class Worker:
    """Runs until `stop` is set, then drains: a grace in seconds for the steps that run, then they are cut."""

    def __init__(self, consumer: Consumer, leases: Leases, supervisor: Supervisor, loops: Sequence[Loop]) -> None:
        self._consumer = consumer
        self._leases = leases
        self._supervisor = supervisor
        self._loops = loops

    async def run(self, stop: asyncio.Event, *, grace: float) -> None:
        """Work until `stop`, and return when every job is finished or given back. Raises what ends the consumer."""
        self._leases.start(asyncio.get_running_loop())
        beside = [asyncio.create_task(self._supervisor.keep(loop), name=loop.name) for loop in self._loops]
        consuming = asyncio.create_task(self._consumer.run(), name="consumer")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([consuming, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not consuming.done():
                await self._drain(consuming, grace)
            if consuming.done():
                consuming.result()
        finally:
            await end(*beside, consuming, stopping)
            await asyncio.to_thread(self._leases.stop)

    async def _drain(self, consuming: asyncio.Task[None], grace: float) -> None:
        _log.info("worker.drains", seconds=grace)
        self._consumer.drain()
        await asyncio.wait([consuming], timeout=grace)
        if not consuming.done():
            self._consumer.leave()
            await asyncio.wait([consuming], timeout=LAST_SECONDS)
        _log.info("worker.drained", clean=consuming.done())
