import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from tests.support.clock import ManualClock
from tests.support.jobs import CUSTOMER, clone_id, clone_plan, planned
from tests.support.wait import until_async
from tests.unit.workers.desk import Desk, forever
from tests.unit.workers.test_leases import PlayedLine
from workers.claims import Claims
from workers.consumer import Consumer, Post
from workers.failpoints import Failpoints
from workers.leases import Leases
from workers.plans import Plan
from workers.step import StepContext
from workers.turns import Turns
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Claim, Job, Limits, Ring
from wpclone.core.jobs.states import JobState, Priority


@dataclass
class Station:
    """A consumer on a desk."""

    desk: Desk
    slots: int = 4
    line: PlayedLine = field(default_factory=PlayedLine)

    @asynccontextmanager
    async def working(self, plan: Plan) -> AsyncIterator[Consumer]:
        desk = self.desk
        await desk.store.create_customer(CUSTOMER, Limits())
        leases = Leases(self.line, "w1", monotonic=desk.clock.monotonic, exit_process=lambda _code: None)
        self.leases = leases
        leases.start(asyncio.get_running_loop())
        claims = self.claims = Claims(desk.store, leases, desk.runner(plan), desk.clock, desk.metrics, worker="w1")
        post = Post(desk.store, desk.bus, desk.clock, desk.metrics, Failpoints())
        consumer = self.consumer = Consumer(post, claims, slots=self.slots)
        consuming = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            await asyncio.to_thread(leases.stop)

    async def ring(self, number: int, priority: Priority = Priority.NORMAL, seq: int = 1) -> None:
        await self.desk.bus.ring(Ring(clone_id(number), seq, priority))

    async def accept(self, *numbers: int) -> None:
        for number in numbers:
            await self.desk.accept(number)
            await self.ring(number)

    async def reaches(self, number: int, state: JobState) -> Job:
        async def reached() -> Job | None:
            job = await self.desk.job(number)
            return job if job.state is state else None

        job = await until_async(reached, within=5, every=0.002)
        assert job is not None
        return job


async def test_a_rung_job_is_claimed_run_and_its_ring_acknowledged() -> None:
    station = Station(Desk())
    async with station.working(station.desk.three_steps()):
        await station.accept(1)
        await station.reaches(1, JobState.COMPLETED)
        await until_async(lambda: _is_empty(station.desk), within=2, every=0.002)


async def test_a_job_that_is_rung_ten_times_runs_once() -> None:
    station = Station(Desk())
    async with station.working(station.desk.three_steps()):
        await station.desk.accept(1)
        for seq in range(10):
            await station.ring(1, seq=seq)
        await station.reaches(1, JobState.COMPLETED)
        await until_async(lambda: _is_empty(station.desk), within=2, every=0.002)
    assert station.desk.effects.done == {"one": 1, "two": 1, "three": 1}


async def test_unreadable_rings_and_rings_of_unknown_jobs_are_dropped_and_counted() -> None:
    station = Station(Desk())
    async with station.working(station.desk.three_steps()):
        station.desk.bus.put_garbage(Priority.HIGH)
        await station.ring(99)
        await until_async(lambda: _is_empty(station.desk), within=2, every=0.002)
    assert station.desk.metrics.unreadable_rings._value.get() == 1


async def test_no_more_jobs_run_at_once_than_there_are_slots() -> None:
    desk, go, most = Desk(), asyncio.Event(), []
    running: set[str] = set()

    async def work(context: StepContext) -> None:
        running.add(context.job.job_id)
        most.append(len(running))
        await go.wait()
        running.discard(context.job.job_id)

    station = Station(desk, slots=3)
    async with station.working(clone_plan(planned(desk.step("one", acts=work)))):
        await station.accept(*range(1, 8))
        await desk.at_step("one", times=3)
        go.set()
        for number in range(1, 8):
            await station.reaches(number, JobState.COMPLETED)
    assert max(most) == 3


async def test_queues_are_polled_eight_three_one_when_all_are_full() -> None:
    turns = Turns()
    taken = Counter(turns.next(list(Priority)) for _ in range(120))
    assert taken == {Priority.HIGH: 80, Priority.NORMAL: 30, Priority.LOW: 10}


async def test_one_slot_serves_every_queue() -> None:
    station = Station(Desk(), slots=1)
    async with station.working(station.desk.three_steps()):
        for number, priority in enumerate(Priority, start=1):
            await station.desk.accept(number)
            await station.ring(number, priority)
        for number in (1, 2, 3):
            await station.reaches(number, JobState.COMPLETED)


async def test_a_worker_survives_an_outage_of_the_bus() -> None:
    station = Station(Desk())
    station.desk.bus.cut()
    async with station.working(station.desk.three_steps()):
        await asyncio.sleep(0)
        station.desk.bus.mend()
        await station.accept(1)
        station.desk.clock.advance(2)
        await station.reaches(1, JobState.COMPLETED)


class EagerClock(ManualClock):
    """Wakes sleepers a hair too early, as event loops with coarse timers do, and moves a little at each look."""

    def monotonic(self) -> float:
        self.advance(timedelta(microseconds=2))
        return super().monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.advance(max(0.0, seconds - 3e-6))


async def test_a_pause_that_ends_a_hair_too_early_is_not_waited_for_forever() -> None:
    station = Station(Desk(clock=EagerClock()))
    station.desk.bus.cut()
    async with station.working(station.desk.three_steps()):
        for _ in range(50):
            await asyncio.sleep(0)
        station.desk.bus.mend()
        await station.accept(1)
        await station.reaches(1, JobState.COMPLETED)


async def test_a_claim_whose_answer_was_lost_is_given_back_without_a_lapse_however_late_it_arrives() -> None:
    station = Station(Desk())
    lost: list[str] = []
    claim = station.desk.store.claim

    async def losing(job_id: str, *, worker: str) -> Claim | None:
        if lost:
            return await claim(job_id, worker=worker)
        lost.append(job_id)
        raise StoreUnavailable

    station.desk.store.claim = losing  # type: ignore[method-assign]
    async with station.working(station.desk.three_steps()):
        await station.accept(1)
        await until_async(lambda: _true(lost), within=2, every=0.002)
        await station.claims.give_back_lost()
        assert await claim(lost[0], worker="w1") is not None
        await station.claims.give_back_lost()
        assert (await station.desk.job(1)).state is JobState.PENDING
        await station.ring(1, seq=2)
        station.desk.clock.advance(2)
        job = await station.reaches(1, JobState.COMPLETED)
    assert (job.lapses, job.fence) == (0, 2)


async def test_a_job_left_to_its_lease_is_given_back_when_it_was_claimed_anew_and_that_answer_was_lost() -> None:
    station = Station(Desk())
    desk = station.desk
    await desk.accept(1)
    async with station.working(desk.three_steps()):
        left = await desk.claim(1)
        station.claims._left[left.job.job_id] = left.fence
        await station.claims.give_back_lost()
        assert (await desk.job(1)).state is JobState.RUNNING
        desk.clock.advance(16)
        await desk.claim(1)
        await station.claims.give_back_lost()
        assert (await desk.job(1)).state is JobState.PENDING


async def test_a_job_that_runs_is_not_taken_for_a_lost_claim() -> None:
    station = Station(Desk())
    plan = clone_plan(planned(station.desk.step("one", acts=lambda _c: forever())))
    async with station.working(plan):
        await station.accept(1)
        await station.desk.at_step("one")
        await station.claims.give_back_lost()
        assert (await station.desk.job(1)).state is JobState.RUNNING


async def test_a_worker_without_a_store_leaves_the_rings_to_others_until_it_answers() -> None:
    station = Station(Desk())
    desk = station.desk
    async with station.working(desk.three_steps()):
        await desk.accept(1)
        desk.store.fail_with(StoreUnavailable())
        await station.ring(1)
        await until_async(lambda: _is_out(station), within=2, every=0.002)
        for _ in range(2):
            taken = await desk.bus.take(Priority.NORMAL, wait=2)
            assert taken is not None
            await taken.put_back()
        desk.clock.advance(1)
        desk.store.fail_with(None)
        desk.clock.advance(2)
        job = await station.reaches(1, JobState.COMPLETED)
    assert (job.lapses, job.attempt) == (0, 0)


async def test_a_drained_consumer_takes_nothing_more_and_gives_back_what_it_ran() -> None:
    station = Station(Desk())
    plan = clone_plan(planned(station.desk.step("one", acts=lambda _c: forever()), resumable=True))
    async with station.working(plan) as consumer:
        await station.accept(1)
        await station.desk.at_step("one")
        consumer.drain()
        job = await station.reaches(1, JobState.PENDING)
        assert (job.attempt, job.lapses) == (0, 0)


async def test_a_job_whose_task_was_cancelled_for_its_lease_is_given_back_when_the_store_is_back() -> None:
    station = Station(Desk())
    plan = clone_plan(planned(station.desk.step("one", acts=lambda _c: forever())))
    async with station.working(plan):
        await station.accept(1)
        await station.desk.at_step("one")
        station.line.is_out = True
        station.desk.store.fail_with(StoreUnavailable())
        station.desk.clock.advance(10)
        for _ in range(300):
            await asyncio.sleep(0.002)
            if station.leases._held and next(iter(station.leases._held.values())).task.done():
                break
        station.desk.store.fail_with(None)
        station.line.is_out = False
        await asyncio.sleep(0)
        station.desk.clock.advance(1)
        job = await station.reaches(1, JobState.PENDING)
    assert (job.lapses, job.attempt) == (0, 0)


async def test_a_claim_taken_over_from_a_lost_worker_is_counted() -> None:
    station = Station(Desk())
    await station.desk.accept(1)
    await station.desk.claim(1, worker="lost")
    station.desk.clock.advance(16)
    async with station.working(station.desk.three_steps()):
        await station.ring(1)
        await station.accept(2)
        for number in (1, 2):
            await station.reaches(number, JobState.COMPLETED)
    assert station.desk.metrics.registry.get_sample_value("clone_lapses_total") == 1


async def test_a_job_that_lapsed_twice_runs_alone() -> None:
    desk, go, together = Desk(), asyncio.Event(), []
    running: set[str] = set()

    async def work(context: StepContext) -> None:
        running.add(context.job.job_id)
        if clone_id(1) in running:
            together.append(len(running))
        await (go.wait() if context.job.job_id == clone_id(2) else asyncio.sleep(0))
        running.discard(context.job.job_id)

    await desk.accept(1)
    for _ in range(2):
        await desk.claim(1)
        desk.clock.advance(16)
    station = Station(desk)
    async with station.working(clone_plan(planned(desk.step("one", acts=work)))):
        await station.accept(2)
        await desk.at_step("one")
        await station.ring(1)
        await station.reaches(1, JobState.PENDING)
        await station.accept(3)
        go.set()
        await station.reaches(2, JobState.COMPLETED)
        for number in (1, 3):
            for seq in range(2, 60):
                desk.clock.advance(1)
                await station.ring(number, seq=seq)
                await asyncio.sleep(0.005)
            await station.reaches(number, JobState.COMPLETED)
    assert together == [1]


async def _is_empty(desk: Desk) -> bool:
    return not any(queue.letters for queue in desk.bus._queues.values())


async def _is_out(station: Station) -> bool:
    return station.consumer._is_store_out


async def _true(found: list[str]) -> bool:
    return bool(found)
