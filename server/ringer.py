"""After the commit: ring the workers and tell the watchers, without making the caller wait for NATS.

A bounded queue that drops when it is full or NATS is down: MySQL is the truth, and the relay rings two seconds later what was
dropped here. So a request costs nothing more when NATS is away.
"""

from __future__ import annotations

import asyncio

import structlog

from wpclone.core.bus import Bus, subjects
from wpclone.core.jobs.errors import BusUnavailable
from wpclone.core.jobs.job import Job, Ring
from wpclone.core.jobs.states import JobState
from wpclone.core.jobs.view import event

_log = structlog.get_logger(__name__)

MOST_WAITING = 1000
TIMEOUT = 2.0
"""Seconds one job's messages may take."""


class Ringer:
    """Publishes what happened to jobs here."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: asyncio.Queue[Job] = asyncio.Queue(MOST_WAITING)

    def publish(self, job: Job) -> None:
        """Publish this job soon, or drop it; returns at once and never fails."""
        if not self._bus.is_connected or self._waiting.full():
            _log.info("ring.dropped", job_id=job.job_id)
            return
        self._waiting.put_nowait(job)

    async def once(self) -> None:
        """Publish the next job; run it supervised. Raises BusUnavailable: then the relay rings."""
        job = await self._waiting.get()
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._publish(job)
        except TimeoutError as error:
            raise BusUnavailable from error

    async def _publish(self, job: Job) -> None:
        if job.state is JobState.PENDING and job.fence == 0:
            await self._bus.ring(Ring(job.job_id, job.enqueue_seq, job.priority, job.traceparent))
        elif job.cancel_requested_at is not None and not job.state.is_terminal:
            await self._bus.tell(subjects.cancel(job.job_id), {"job_id": job.job_id})
        await self._bus.tell(subjects.event(job.job_id), event(job))
