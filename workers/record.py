"""The writes of one claimed job: each applied once, each told to watchers, patient with an outage of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from wpclone.core.bus import Bus, subjects
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import StaleClaim, StoreUnavailable
from wpclone.core.jobs.job import Claim, Facts, Job, Step
from wpclone.core.jobs.states import JobState, StepState
from wpclone.core.jobs.transitions import Transition
from wpclone.core.jobs.view import event

_log = structlog.get_logger(__name__)

AGAIN = 0.5
"""Seconds between two tries of a write while the store is out. The lease guard ends the tries, by cancelling the task."""


class Writes(Protocol):
    """The part of the job store that a record needs."""

    async def apply(self, transition: Transition) -> Job:
        """See `wpclone.core.store.JobStore.apply`."""

    async def get_job(self, job_id: str) -> Job | None:
        """See `wpclone.core.store.JobStore.get_job`."""


class Record:
    """A claimed job as it is now, and the only way to change it."""

    def __init__(self, claim: Claim, store: Writes, bus: Bus, clock: Clock) -> None:
        self.claim = claim
        self.job = claim.job
        self._store = store
        self._bus = bus
        self._clock = clock
        self._steps: dict[str, Step] = {step.name: step for step in claim.job.steps}

    def step(self, name: str) -> Step | None:
        """The step's row, or None when it never began."""
        return self._steps.get(name)

    @property
    def facts(self) -> Mapping[str, Facts]:
        """What finished steps found or made."""
        return {name: step.facts for name, step in self._steps.items() if step.facts or step.state is StepState.DONE}

    async def apply(self, transition: Transition) -> Job:
        """Write until the store says yes or no; raises StaleClaim when it says no. An outage only makes it wait."""
        is_uncertain = False
        while True:
            try:
                return await self._committed(transition, await self._store.apply(replace(transition, known=self.job)))
            except StoreUnavailable as error:
                # The commit may have happened: the same write again is harmless, and an end reached twice is seen below.
                is_uncertain = True
                _log.warning("job.write_waits", job_id=self.job.job_id, transition=transition.name, error=error.message)
                await self._clock.sleep(AGAIN)
            except StaleClaim:
                settled = await self._settled(transition) if is_uncertain else None
                if settled is None:
                    raise
                return await self._committed(transition, settled)

    async def try_apply(self, transition: Transition) -> None:
        """Write once. Raises StaleClaim, StoreUnavailable."""
        await self._committed(transition, await self._store.apply(replace(transition, known=self.job)))

    async def _settled(self, transition: Transition) -> Job | None:
        """The job, if the write whose answer was lost is what brought it to its present state under our fence."""
        while True:
            try:
                job = await self._store.get_job(transition.job_id)
            except StoreUnavailable:
                await self._clock.sleep(AGAIN)
                continue
            if job is None or job.fence != transition.fence or job.state is not transition.target:
                return None
            return job if transition.target is not JobState.RUNNING else None

    async def _committed(self, transition: Transition, job: Job) -> Job:
        for step in transition.steps:
            self._steps[step.name] = step
        for step in job.steps:
            self._steps[step.name] = step
        self.job = job if job.steps else replace(job, steps=tuple(sorted(self._steps.values(), key=lambda s: s.position)))
        await self._bus.tell(subjects.event(job.job_id), event(self.job))
        return self.job
