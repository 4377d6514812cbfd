"""A job that may be what kills its workers runs alone, and the worker is never closed for long because of it."""

import asyncio
from collections.abc import Callable

from tests.support.jobs import clone_id, clone_plan, planned
from tests.support.wait import until_async
from tests.unit.workers.desk import Desk
from tests.unit.workers.test_consumer import Station
from workers.alone import FROM, WAIT
from workers.plans import Plan
from workers.step import StepContext
from wpclone.core.jobs.states import JobState


class Play:
    """Jobs of two steps that last as long as they are told, on one worker."""

    def __init__(self, *, resumable: bool = True) -> None:
        self.desk = Desk()
        self.station = Station(self.desk)
        self.go: dict[str, asyncio.Event] = {}
        self.running: set[str] = set()
        self.beside: list[set[str]] = []
        self._resumable = resumable

    @property
    def plan(self) -> Plan:
        steps = (self.desk.step("one", acts=self._work), self.desk.step("two", acts=self._work))
        return clone_plan(*(planned(step, deadline=3600, resumable=self._resumable) for step in steps))

    async def _work(self, context: StepContext) -> None:
        job_id = context.job.job_id
        step = "two" if "one" in context.facts else "one"
        self.running.add(job_id)
        self.beside.append(set(self.running))
        try:
            await self.gate(job_id, step).wait()
        finally:
            self.running.discard(job_id)

    def gate(self, job_id: str, step: str) -> asyncio.Event:
        return self.go.setdefault(f"{job_id} {step}", asyncio.Event())

    def let(self, number: int, *steps: str) -> None:
        for step in steps:
            self.gate(clone_id(number), step).set()

    async def suspect(self, number: int) -> None:
        """A job that lapsed often enough."""
        await self.desk.accept(number)
        for _ in range(FROM):
            await self.desk.claim(number, worker="lost")
            self.desk.clock.advance(16)

    async def until(self, is_true: Callable[[], bool], *, step: float = 0.25, ring: int | None = None) -> None:
        """Let time pass until it is true; a job may be rung again and again, as the relay does."""
        seq = 100

        async def check() -> bool:
            nonlocal seq
            self.desk.clock.advance(step)
            self.station.leases.renew_once()
            seq += 1
            if ring is not None:
                await self.station.ring(ring, seq=seq)
            for _ in range(20):
                await asyncio.sleep(0)
            return is_true()

        await until_async(check, within=90, every=0.002)

    def is_running(self, *numbers: int) -> Callable[[], bool]:
        return lambda: self.running == {clone_id(number) for number in numbers}

    @property
    def is_closed(self) -> bool:
        return self.station.consumer._alone.is_closed


async def test_a_suspect_runs_alone_and_the_worker_opens_when_it_has_got_on() -> None:
    play = Play()
    await play.suspect(1)
    async with play.station.working(play.plan):
        await play.station.ring(1)
        await play.until(play.is_running(1))
        await play.station.accept(2)
        await play.until(lambda: play.desk.clock.monotonic() > 60)
        assert (play.running, play.is_closed) == ({clone_id(1)}, True)
        play.let(1, "one")
        await play.until(play.is_running(1, 2))
        assert not play.is_closed
        play.let(1, "two")
        await play.station.reaches(1, JobState.COMPLETED)
    assert play.beside[0] == {clone_id(1)}


async def test_what_runs_beside_a_suspect_is_sent_back_and_burns_nothing() -> None:
    play = Play()
    await play.suspect(1)
    async with play.station.working(play.plan):
        await play.station.accept(2)
        await play.until(play.is_running(2))
        began = play.desk.clock.monotonic()
        await play.station.ring(1)
        await play.until(play.is_running(1), ring=1)
        assert play.desk.clock.monotonic() - began <= WAIT + 3
        other = await play.desk.job(2)
        assert (other.state, other.lapses, other.attempt) == (JobState.PENDING, 0, 0)
        play.let(1, "one")
        await play.until(play.is_running(1, 2), ring=2)
    assert [clone_id(1)] in [sorted(beside) for beside in play.beside]


async def test_a_worker_that_does_not_become_empty_opens_again_and_stays_open_for_longer_each_time() -> None:
    play = Play(resumable=False)
    await play.suspect(1)
    closed = opened = 0.0
    async with play.station.working(play.plan):
        await play.station.accept(2)
        await play.until(play.is_running(2))

        def enough() -> bool:
            nonlocal closed, opened
            if play.is_closed:
                closed += 0.25
            else:
                opened += 0.25
            return closed + opened >= 200

        await play.until(enough, ring=1)
        assert closed <= 6 * (WAIT + 1), (closed, opened)
        assert play.running == {clone_id(2)}
        await play.station.accept(3)
        await play.until(play.is_running(2, 3), ring=3)


async def test_a_suspect_that_got_on_is_no_suspect_here_when_it_comes_again() -> None:
    play = Play()
    await play.suspect(1)
    async with play.station.working(play.plan):
        await play.station.ring(1)
        await play.until(play.is_running(1))
        play.let(1, "one")
        await play.until(lambda: not play.is_closed)
        play.station.consumer._claims.send_away()
        await play.station.reaches(1, JobState.PENDING)
        await play.station.accept(2)
        await play.until(play.is_running(2))
        await play.until(play.is_running(1, 2), ring=1)


async def test_a_closed_worker_gives_a_second_suspect_back_at_once() -> None:
    play = Play()
    await play.suspect(1)
    await play.suspect(2)
    async with play.station.working(play.plan):
        await play.station.ring(1)
        await play.until(play.is_running(1))
        claim = await play.desk.claim(2)
        await play.station.consumer._alone.run(claim, is_busy=False)
        assert (await play.desk.job(2)).state is JobState.PENDING
        assert play.running == {clone_id(1)}
