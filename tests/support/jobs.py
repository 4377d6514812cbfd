"""Jobs, plans and steps for tests of whatever runs them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from workers.plans import Plan, PlannedStep
from workers.step import Done, StepContext
from wpclone.core.jobs.job import Facts, Job, NewClone, NewJob
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import CloneState, JobKind
from wpclone.core.jobs.transitions import CloneChange

CUSTOMER = "acme"


def clone_id(number: int) -> str:
    return f"clone-{number:012x}"


def new_clone_job(number: int = 1, *, run_for: timedelta = timedelta(hours=1), version: int = 1) -> NewJob:
    return NewJob(
        job_id=clone_id(number), kind=JobKind.CLONE, customer_id=CUSTOMER, request={"source_url": "http://source.example"},
        secrets=None, definition_version=version, run_for=run_for, clone_id=clone_id(number),
    )  # fmt: skip


def new_clone(number: int = 1) -> NewClone:
    return NewClone(clone_id(number), CUSTOMER, "local", "http://source.example", timedelta(hours=1))


@dataclass
class Effects:
    """What steps did to the world outside, counted by name."""

    done: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)


@dataclass
class PlayedStep:
    """A step that plays a part: `acts` is called in each `do`, `undo_acts` in each `undo`; either may raise or wait."""

    name: str
    effects: Effects
    acts: Callable[[StepContext], object] = lambda _context: None
    undo_acts: Callable[[StepContext], object] = lambda _context: None

    async def do(self, context: StepContext) -> Done:
        self.effects.done[self.name] += 1
        self.effects.order.append(f"do {self.name}")
        played = self.acts(context)
        if asyncio.iscoroutine(played):
            await played
        return Done({"made": f"{self.name} of {context.job.job_id}"})

    async def undo(self, context: StepContext) -> None:
        self.effects.undone[self.name] += 1
        self.effects.order.append(f"undo {self.name}")
        played = self.undo_acts(context)
        if asyncio.iscoroutine(played):
            await played


class CloneEnding:
    """The ending of a clone job without its details."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, CloneChange | None]:
        change = CloneChange(CloneState.READY, url="http://clone.example", starts_ttl=True)
        return {"steps": sorted(facts)}, change

    def given_up(self, job: Job) -> CloneChange | None:
        return CloneChange(CloneState.FAILED)


RETRY = RetryPolicy(attempts=3, base=timedelta(seconds=1), most=timedelta(seconds=4))


def planned(step: PlayedStep, *, weight: float = 1.0, deadline: float = 60.0, resumable: bool = False) -> PlannedStep:
    return PlannedStep(
        step, f"Playing {step.name}", weight, timedelta(seconds=deadline), retry=RETRY,
        undo_deadline=timedelta(seconds=30), undo_retry=RETRY, resumable=resumable,
    )  # fmt: skip


def clone_plan(*steps: PlannedStep, version: int = 1) -> Plan:
    return Plan(JobKind.CLONE, version, steps, CloneEnding())
