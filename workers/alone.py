"""Where a job runs that may be what kills its workers: beside no other, so that it takes none along.

A worker that waits to be alone, or is, takes nothing else, so neither may last. What else runs here is soon asked to go back,
which burns nothing; a worker that is not empty in time opens again and leaves the job to others for a while. And a job that has
got on since its claim has passed the point where its workers were lost: then it is no suspect any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import structlog

from workers.claims import Claims
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Claim, Job
from wpclone.core.jobs.states import StepState
from wpclone.core.store import JobStore
from wpclone.core.supervise import end

N = TypeVar("N", int, float)
_log = structlog.get_logger(__name__)

FROM = 2
"""A job that lapsed this often is a suspect."""

WAIT = 6.0
"""Seconds a worker stays closed at most to become empty for one."""

POLITE = 2.0
"""Seconds of these after which what runs here is asked to go back."""

MOST_PATIENT = 300.0
"""Seconds at most in which a worker that was not empty in time does not close for the same job; they double with each failure."""

LOOK_EVERY = 2.0
"""Seconds between two looks at whether it has got on."""

MOST_REMEMBERED = 1000
"""Jobs whose tries and clearances are kept."""


class Alone:
    """One worker's way with suspects. `opened` is called when the worker may take jobs again."""

    def __init__(self, store: JobStore, claims: Claims, clock: Clock, *, opened: Callable[[], None]) -> None:
        self._store = store
        self._claims = claims
        self._clock = clock
        self._opened = opened
        self._job_id: str | None = None
        self._cleared: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    @property
    def is_closed(self) -> bool:
        """Whether the worker is to take no job now."""
        return self._job_id is not None

    def is_suspect(self, job: Job) -> bool:
        """Whether the job is to run alone: it lapsed often, and never got on here since."""
        return job.lapses >= FROM and self._cleared.get(job.job_id) != job.lapses

    async def run(self, claim: Claim, *, is_busy: bool) -> None:
        """Run a claimed suspect alone, or give it back. `is_busy` says that other claims are on their way here."""
        job_id = claim.job.job_id
        is_alone = not is_busy and len(self._claims) == 1
        if self.is_closed or (not is_alone and self._clock.monotonic() < self._not_before.get(job_id, 0.0)):
            await self._claims.give_back(claim, timedelta(seconds=WAIT))
            return
        self._job_id = job_id
        try:
            alone = claim if is_alone else await self._claim_when_empty(claim)
            if alone is not None:
                _log.warning("job.runs_alone", job_id=job_id, lapses=alone.job.lapses)
                await self._run(alone)
        finally:
            self._open(job_id)

    async def _run(self, claim: Claim) -> None:
        looking = asyncio.create_task(self._clear_when_it_gets_on(claim))
        try:
            await self._claims.run(claim)
        finally:
            await end(looking)

    async def _clear_when_it_gets_on(self, claim: Claim) -> None:
        job_id = claim.job.job_id
        while True:
            await self._clock.sleep(LOOK_EVERY)
            try:
                job = await self._store.get_job(job_id)
            except StoreUnavailable:
                continue
            if job is None:
                return
            if _got_on(claim.job, job):
                _log.info("job.no_suspect", job_id=job_id, lapses=job.lapses)
                _remember(self._cleared, job_id, job.lapses)
                self._open(job_id)
                return

    async def _claim_when_empty(self, claim: Claim) -> Claim | None:
        """Give the job back for a moment, and claim it again if this worker has nothing else by then."""
        job_id, due = claim.job.job_id, self._clock.monotonic() + WAIT
        await self._claims.give_back(claim, timedelta(seconds=WAIT))
        if not await self._is_empty_within(POLITE):
            self._claims.send_away()
            if not await self._is_empty_within(WAIT - POLITE):
                self._be_patient(job_id)
                return None
        await self._clock.sleep(due - self._clock.monotonic())
        try:
            return await self._claims.make(job_id)
        except StoreUnavailable:
            return None

    def _be_patient(self, job_id: str) -> None:
        tries = self._tries.get(job_id, 0) + 1
        _remember(self._tries, job_id, tries)
        _remember(self._not_before, job_id, self._clock.monotonic() + min(MOST_PATIENT, WAIT * 2.0**tries))
        _log.warning("job.not_alone", job_id=job_id, others=len(self._claims))

    async def _is_empty_within(self, seconds: float) -> bool:
        waits = [asyncio.create_task(self._claims.empty()), asyncio.create_task(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[0].done()
        finally:
            await end(*waits)

    def _open(self, job_id: str) -> None:
        if self._job_id == job_id:
            self._job_id = None
            self._opened()


def _got_on(before: Job, now: Job) -> bool:
    """Whether anything was recorded beyond what was there. Progress never falls, so more of it is farther than ever."""
    return now.progress > before.progress or not _recorded(now) <= _recorded(before)


def _recorded(job: Job) -> set[tuple[str, StepState]]:
    return {(step.name, step.state) for step in job.steps if step.state in (StepState.DONE, StepState.UNDONE)}


def _remember(known: dict[str, N], job_id: str, value: N) -> None:
    known.pop(job_id, None)
    known[job_id] = value
    if len(known) > MOST_REMEMBERED:
        del known[next(iter(known))]
