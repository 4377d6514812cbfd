"""After the commit: ring the workers and tell the watchers, without making the caller wait for NATS.

Bounded queues that drop when they are full or NATS is down: MySQL is the truth, and the relay rings two seconds later what was
dropped here. So a request costs nothing more when NATS is away. Customers take turns, so that one's thousand jobs neither put off
nor drop another's cancel, which should reach its worker within a second.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

import structlog

from wpclone.core.bus import Bus, subjects
from wpclone.core.jobs.errors import BusUnavailable
from wpclone.core.jobs.job import Job, Ring
from wpclone.core.jobs.states import JobState
from wpclone.core.jobs.view import event

_log = structlog.get_logger(__name__)

MOST_WAITING = 250
"""Jobs of one customer."""

MOST_CUSTOMERS = 100
"""Customers at a time; the relay rings further ones' jobs."""

TIMEOUT = 2.0
"""Seconds one job's messages may take."""


class Ringer:
    """Publishes what happened to jobs here."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._some = asyncio.Event()

    def publish(self, job: Job) -> None:
        """Publish this job soon, or drop it; returns at once and never fails."""
        queue = self._waiting.get(job.customer_id)
        is_full = len(queue) >= MOST_WAITING if queue is not None else len(self._waiting) >= MOST_CUSTOMERS
        if not self._bus.is_connected or is_full:
            _log.info("ring.dropped", job_id=job.job_id)
            return
        self._waiting.setdefault(job.customer_id, deque()).append(job)
        self._some.set()

    async def once(self) -> None:
        """Publish the next job; run it supervised. Raises BusUnavailable: then the relay rings."""
        job = await self._next()
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._publish(job)
        except TimeoutError as error:
            raise BusUnavailable from error

    async def _next(self) -> Job:
        """The oldest job of the customer whose turn it is."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        customer_id, queue = self._waiting.popitem(last=False)
        job = queue.popleft()
        if queue:
            self._waiting[customer_id] = queue
        return job

    async def _publish(self, job: Job) -> None:
        if job.state is JobState.PENDING and job.fence == 0:
            await self._bus.ring(Ring(job.job_id, job.enqueue_seq, job.priority, job.traceparent))
        elif job.cancel_requested_at is not None and not job.state.is_terminal:
            await self._bus.tell(subjects.cancel(job.job_id), {"job_id": job.job_id})
        await self._bus.tell(subjects.event(job.job_id), event(job))
