"""A runner on a memory store and bus, with a clock that stands still."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from prometheus_client import CollectorRegistry

from tests.support.clock import ManualClock
from tests.support.jobs import CUSTOMER, Effects, PlayedStep, clone_id, clone_plan, new_clone, new_clone_job, planned
from tests.support.wait import until_async
from workers.failpoints import Failpoints
from workers.orders import Orders
from workers.plans import Plan, Plans
from workers.runner import Runner, Tools
from workers.step import StepContext
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.core.jobs.job import Claim, Job, Limits
from wpclone.core.jobs.transitions import Transition
from wpclone.core.metrics import Metrics
from wpclone.core.store.memory import MemoryStore

STEPS = ["one", "two", "three"]
NO = Fatal("X", "No.")


class NoKeys:
    """A key ring for jobs without secrets."""

    def decrypt(self, blob: bytes, context: str) -> bytes:
        raise AssertionError(f"nobody should decrypt {context}")


@dataclass
class Desk:
    """Everything a runner test touches."""

    clock: ManualClock = field(default_factory=ManualClock)
    bus: MemoryBus = field(default_factory=MemoryBus)
    effects: Effects = field(default_factory=Effects)
    stuck: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock)

    def step(self, name: str, **acts: object) -> PlayedStep:
        return PlayedStep(name, self.effects, **acts)  # type: ignore[arg-type]

    def three_steps(self) -> Plan:
        return clone_plan(planned(self.step("one")), planned(self.step("two")), planned(self.step("three")))

    def runner(self, plan: Plan, *, failpoints: Failpoints | None = None) -> Runner:
        tools = Tools(self.store, self.bus, NoKeys(), self.clock, lambda: 0.5, failpoints or Failpoints(), self.metrics)
        return Runner(Plans([plan]), tools, on_stuck=self.stuck.append)

    async def accept(self, number: int = 1, *, run_for: timedelta = timedelta(hours=1), version: int = 1) -> Job:
        await self.store.create_customer(CUSTOMER, Limits())
        return await self.store.accept(new_clone_job(number, run_for=run_for, version=version), clone=new_clone(number))

    async def claim(self, number: int = 1, worker: str = "w1") -> Claim:
        claim = await self.store.claim(clone_id(number), worker=worker)
        assert claim is not None
        return claim

    async def job(self, number: int = 1) -> Job:
        job = await self.store.get_job(clone_id(number))
        assert job is not None
        return job

    async def clone_state(self, number: int = 1) -> str:
        clone = await self.store.get_clone(clone_id(number))
        assert clone is not None
        return clone.state.value

    async def run(self, plan: Plan, number: int = 1, orders: Orders | None = None) -> Job:
        """Claim and run once."""
        await self.runner(plan).run(await self.claim(number), orders or Orders())
        return await self.job(number)

    async def run_to_the_end(self, plan: Plan, number: int = 1) -> Job:
        """Claim and run again and again, the clock moved to each next attempt."""
        for _ in range(100):
            job = await self.run(plan, number)
            if job.state.is_terminal:
                return job
            self.clock.advance(max(timedelta(0), job.next_run_at - self.clock.now()))
        raise AssertionError("the job does not end")

    async def at_step(self, name: str, times: int = 1) -> None:
        """Wait until `do` of this step has begun."""

        async def begun() -> bool:
            return self.effects.done[name] >= times

        await until_async(begun, within=5, every=0.001)


async def forever() -> None:
    """What a step that hangs does."""
    await asyncio.Event().wait()


def noted(desk: Desk) -> list[str]:
    """The names of all writes from now on, refused ones too."""
    written: list[str] = []
    apply = desk.store.apply

    async def noting(transition: Transition) -> Job:
        written.append(transition.name)
        return await apply(transition)

    desk.store.apply = noting  # type: ignore[method-assign]
    return written


def raised_in_step(error: Exception) -> object:
    """What a step does that fails with this error."""

    def act(_context: StepContext) -> None:
        raise error

    return act


def fails_times(times: int, *, after: timedelta | None = None) -> object:
    """What a step does that asks for a retry, so often."""
    failures = iter(range(times))

    def act(_context: StepContext) -> None:
        if next(failures, None) is not None:
            raise RetryLater("NOT_YET", "It is not there yet.", after=after)

    return act
