"""The jobs this worker holds: claimed, run, and given back when they were stopped.

A claim is counted from before it was sent. A claim whose answer was lost is found again and given back, whenever it turns up, so
that an outage never looks like a lost worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import structlog

from workers.leases import Leases
from workers.orders import Orders
from wpclone.core.clock import Clock
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StaleClaim, StoreUnavailable
from wpclone.core.jobs.job import Claim
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

AGAIN = 1.0
"""Seconds between two tries to give a job back."""


class Runs(Protocol):
    """What runs a claimed job; `workers.runner.Runner`."""

    async def run(self, claim: Claim, orders: Orders) -> None:
        """Run it to its end, its pause or its loss."""


@dataclass
class _Mine:
    sent_at: float
    orders: Orders


class Claims:
    """The claimed jobs of one worker."""

    def __init__(self, store: JobStore, leases: Leases, runner: Runs, clock: Clock, metrics: Metrics, *, worker: str) -> None:
        self._store = store
        self._leases = leases
        self._runner = runner
        self._clock = clock
        self._metrics = metrics
        self._worker = worker
        self._mine: dict[str, _Mine] = {}
        self._less = asyncio.Event()
        self._left: dict[str, int] = {}
        self._is_draining = False

    def __len__(self) -> int:
        return len(self._mine)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._mine

    def drain(self) -> None:
        """Each job goes back after its present step."""
        self._is_draining = True
        self.send_away()

    def send_away(self) -> None:
        """Each job that is held now goes back after its present step; further ones may come."""
        for mine in self._mine.values():
            mine.orders.drain()

    def leave(self) -> None:
        """Each job goes back now."""
        for mine in self._mine.values():
            mine.orders.leave()

    async def empty(self) -> None:
        """Return when no job is held."""
        while self._mine:
            self._less.clear()
            await self._less.wait()

    async def make(self, job_id: str) -> Claim | None:
        """Claim the job; None when it is not claimable now, or in our hands already.

        Raises StoreUnavailable; whether the claim was made is unknown then, and `give_back_lost` finds out.
        """
        if job_id in self._mine:
            return None
        mine = self._mine[job_id] = _Mine(self._leases.monotonic(), Orders())
        try:
            claim = await self._store.claim(job_id, worker=self._worker)
        except BaseException:
            self._drop(job_id)
            raise
        if claim is None:
            self._drop(job_id)
            return None
        if self._is_draining:
            mine.orders.drain()
        if claim.lapsed:
            self._metrics.lapses.inc()
        delay = (claim.job.updated_at - claim.job.next_run_at).total_seconds()
        self._metrics.start_delay_seconds.labels(claim.job.kind.value).observe(max(0.0, delay))
        _log.info("job.claimed", job_id=job_id, worker=self._worker, fence=claim.fence, lapses=claim.job.lapses)
        return claim

    async def run(self, claim: Claim) -> None:
        """Run the job under its lease. A job whose task was cancelled is given back as soon as the store answers."""
        job_id = claim.job.job_id
        mine = self._mine[job_id]
        task = asyncio.create_task(self._runner.run(claim, mine.orders), name=f"job {job_id}")
        self._leases.hold(claim, task, mine.orders, sent_at=mine.sent_at)
        self._metrics.jobs_running.set(len(self._mine))
        try:
            await asyncio.wait([task])
            if task.cancelled():
                await self._hand_back(claim, timedelta(0))
            elif (error := task.exception()) is not None:
                # Left to its lease: a bug that repeats then counts as lapses, which end.
                self._left[job_id] = claim.fence
                _log.error("runner.bug", job_id=job_id, exc_info=error)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            self._leases.release(job_id)
            self._drop(job_id)
            self._metrics.jobs_running.set(len(self._mine))

    async def give_back(self, claim: Claim, pause: timedelta) -> None:
        """Give back a job that was claimed but not run."""
        try:
            await self._hand_back(claim, pause)
        finally:
            self._drop(claim.job.job_id)

    async def give_back_lost(self) -> None:
        """Give back what the store says is ours and we do not have: claims whose answers were lost. Raises StoreUnavailable.

        One look is not enough: after a partition, a claim that was given up may still arrive at the store.
        """
        listed = await self._store.claims_of(self._worker)
        self._left = {job_id: fence for job_id, fence in self._left.items() if listed.get(job_id) == fence}
        for job_id, fence in listed.items():
            job = None if job_id in self._mine or job_id in self._left else await self._store.get_job(job_id)
            if job is not None and job_id not in self._mine:
                _log.warning("job.claim_found", job_id=job_id, fence=fence)
                await self._hand_back(Claim(job, self._worker, fence), timedelta(0))

    async def _hand_back(self, claim: Claim, pause: timedelta) -> None:
        while True:
            try:
                await self._store.apply(replace(transitions.handed_back(claim), pause=pause))
            except StoreUnavailable:
                await self._clock.sleep(AGAIN)
            except StaleClaim:
                _log.warning("job.claim_lost", job_id=claim.job.job_id)
                return
            else:
                _log.info("job.handed_back", job_id=claim.job.job_id)
                return

    def _drop(self, job_id: str) -> None:
        self._mine.pop(job_id, None)
        self._less.set()
