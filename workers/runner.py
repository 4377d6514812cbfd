"""Runs one claimed job: the first step without a record, do, record, next; or, once there is a verdict, undo in reverse.

Nothing else in `workers` writes a job. Every way out of `run` leaves the job terminal, pending, or to its next claimant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from workers.attempt import Attempts
from workers.failpoints import Failpoints
from workers.forward import Condemned, Forward
from workers.job_secrets import Decrypter
from workers.orders import Orders
from workers.plans import Plan, Plans
from workers.record import Record, Writes
from workers.run import HandBack, Paused, Run
from workers.undo import Backward
from wpclone.core.bus import Bus
from wpclone.core.clock import Clock
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StaleClaim
from wpclone.core.jobs.job import Claim
from wpclone.core.jobs.retry import Chance
from wpclone.core.metrics import Metrics

_log = structlog.get_logger(__name__)

UNKNOWN_PLAN_PAUSE = timedelta(seconds=5)
"""How long a job of another version waits before it is rung again, for a worker that knows it."""


@dataclass(frozen=True)
class Tools:
    """What running needs besides the plans."""

    store: Writes
    bus: Bus
    keys: Decrypter
    clock: Clock
    chance: Chance
    failpoints: Failpoints
    metrics: Metrics


class Runner:
    """Runs claimed jobs by their plans. `on_stuck` is told of a job whose step does not stop when it is cut."""

    def __init__(self, plans: Plans, tools: Tools, *, on_stuck: Callable[[str], None]) -> None:
        self._plans = plans
        self._tools = tools
        self._attempts = Attempts(tools.clock, on_stuck=on_stuck)

    async def run(self, claim: Claim, orders: Orders) -> None:
        """Run the job until it is terminal, waits, or is no longer ours. Cancelling this stops the step and writes nothing."""
        record = Record(claim, self._tools.store, self._tools.bus, self._tools.clock)
        log = _log.bind(job_id=claim.job.job_id, fence=claim.fence, worker=claim.worker)
        plan = self._plans.find(claim.job)
        try:
            if plan is None:
                raise HandBack("this worker does not know the job's definition version", UNKNOWN_PLAN_PAUSE)
            await self._run(plan, record, orders)
        except HandBack as why:
            await self._hand_back(record, why)
        except Paused:
            log.info("job.paused", next_run_at=record.job.next_run_at.isoformat())
        except StaleClaim:
            self._tools.metrics.stale_writes.inc()
            log.warning("job.claim_lost")
        except asyncio.CancelledError:
            log.warning("job.stopped")
            raise
        else:
            self._count(record)
            log.info("job.ended", status=record.job.state.value, needs_attention=record.job.needs_attention)

    async def _run(self, plan: Plan, record: Record, orders: Orders) -> None:
        run = Run(plan, record, orders, self._attempts, self._tools)
        try:
            if record.job.verdict is None:
                await Forward(run).to_completion()
                return
        except Condemned as verdict:
            await verdict.write(record)
        await Backward(run).to_the_end()

    def _count(self, record: Record) -> None:
        job, metrics = record.job, self._tools.metrics
        metrics.tasks.labels(job.kind.value, job.state.value).inc()
        metrics.task_seconds.labels(job.kind.value).observe((job.updated_at - job.created_at).total_seconds())

    async def _hand_back(self, record: Record, why: HandBack) -> None:
        try:
            await record.apply(replace(transitions.handed_back(record.claim), pause=why.pause))
        except StaleClaim:
            _log.warning("job.claim_lost", job_id=record.job.job_id)
        else:
            _log.info("job.handed_back", job_id=record.job.job_id, why=str(why))
