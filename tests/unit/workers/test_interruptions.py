"""Draining, deadlines, outages and bugs: no job is lost by them, and no attempt burnt that is not its own."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.jobs import clone_id, clone_plan, planned
from tests.unit.workers.desk import Desk, forever, raised_in_step
from workers.attempt import GRACE
from workers.failpoints import Failpoints
from workers.orders import Orders
from workers.step import StepContext
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Claim, Job
from wpclone.core.jobs.states import JobState
from wpclone.core.jobs.transitions import Transition
from wpclone.wordpress.errors import FencedOff


async def turns(count: int) -> None:
    """Let the loop run what is ready, this many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_draining_worker_finishes_its_step_and_hands_the_job_back() -> None:
    desk, orders = Desk(), Orders()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=lambda _c: orders.drain())), planned(desk.step("two")))
    job = await desk.run(plan, orders=orders)
    assert (job.state, job.attempt, job.lapses, job.next_run_at <= desk.clock.now()) == (JobState.PENDING, 0, 0, True)
    assert desk.effects.order == ["do one"]
    assert (await desk.run(plan)).state is JobState.COMPLETED
    assert desk.effects.done == {"one": 1, "two": 1}


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_resumable_step_is_cut_by_draining_and_any_other_when_the_grace_is_over(resumable: bool) -> None:
    desk, orders = Desk(), Orders()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=lambda _c: forever()), resumable=resumable))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), orders))
    await desk.at_step("one")
    if resumable:
        orders.drain()
    else:
        orders.leave()
    async with asyncio.timeout(1):
        await running
    job = await desk.job()
    assert (job.state, job.attempt, job.lapses) == (JobState.PENDING, 0, 0)


async def test_a_hung_step_is_cut_by_its_own_deadline_and_tried_again() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=lambda _c: forever()), deadline=30))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), Orders()))
    await desk.at_step("one")
    desk.clock.advance(30)
    async with asyncio.timeout(1):
        await running
    job = await desk.job()
    assert (job.state, job.attempt) == (JobState.PENDING, 1)
    assert job.steps[0].last_error is not None
    assert job.steps[0].last_error.reason == "STEP_DEADLINE_EXCEEDED"


async def test_a_job_past_its_deadline_is_undone_and_fails() -> None:
    desk = Desk()
    await desk.accept(run_for=timedelta(seconds=100))
    plan = clone_plan(planned(desk.step("one")), planned(desk.step("two", acts=lambda _c: forever()), deadline=1000))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), Orders()))
    await desk.at_step("two")
    desk.clock.advance(100)
    async with asyncio.timeout(1):
        await running
    job = await desk.job()
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.reason, job.error.step) == ("DEADLINE_EXCEEDED", "two")
    assert desk.effects.order[-2:] == ["undo two", "undo one"]


async def test_a_pending_job_past_its_deadline_fails_without_a_step() -> None:
    desk = Desk()
    await desk.accept(run_for=timedelta(seconds=100))
    desk.clock.advance(101)
    job = await desk.run(desk.three_steps())
    assert (job.state, desk.effects.order) == (JobState.FAILED, [])


async def test_a_step_that_a_lost_cancel_left_running_is_cancelled_again() -> None:
    desk, orders = Desk(), Orders()

    async def deaf_once(_context: StepContext) -> None:
        with suppress(asyncio.CancelledError):
            await forever()
        await forever()

    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=deaf_once)))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), orders))
    await desk.at_step("one")
    orders.leave()
    await turns(10)
    assert not running.done()
    desk.clock.advance(GRACE / 2)
    async with asyncio.timeout(1):
        await running
    assert desk.stuck == []


async def test_a_step_that_does_not_stop_is_reported_as_stuck() -> None:
    desk, orders, release = Desk(), Orders(), asyncio.Event()

    async def stubborn(_context: StepContext) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=stubborn)))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), orders))
    await desk.at_step("one")
    orders.leave()
    for _ in range(2):  # it is cancelled once more at half time
        await turns(10)
        assert desk.stuck == []
        desk.clock.advance(GRACE / 2)
    await turns(10)
    assert desk.stuck == [clone_id(1)]
    assert not running.done()
    release.set()
    async with asyncio.timeout(1):
        await running


async def test_a_job_of_an_unknown_version_is_handed_back_for_another_worker() -> None:
    desk = Desk()
    await desk.accept(version=7)
    job = await desk.run(desk.three_steps())
    assert (job.state, job.attempt, job.lapses) == (JobState.PENDING, 0, 0)
    assert job.next_run_at > desk.clock.now()


async def test_effects_that_are_fenced_off_hand_the_job_back_without_an_attempt() -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run(clone_plan(planned(desk.step("one", acts=raised_in_step(FencedOff())))))
    assert (job.state, job.attempt) == (JobState.PENDING, 0)


async def test_an_outage_of_the_store_is_waited_for_and_burns_nothing() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(
        planned(desk.step("one", acts=lambda _c: desk.store.fail_with(StoreUnavailable()))), planned(desk.step("two"))
    )
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), Orders()))
    await desk.at_step("one")
    for _ in range(5):
        await asyncio.sleep(0)
        desk.clock.advance(0.5)
    assert not running.done()
    desk.store.fail_with(None)
    while not running.done():
        await asyncio.sleep(0)
        desk.clock.advance(0.5)
    job = await desk.job()
    assert (job.state, job.lapses) == (JobState.COMPLETED, 0)
    assert desk.effects.done == {"one": 1, "two": 1}


async def test_a_completion_whose_answer_was_lost_counts_once() -> None:
    desk = Desk()
    await desk.accept()
    apply = desk.store.apply
    lost: list[Transition] = []

    async def losing(transition: Transition) -> Job:
        job = await apply(transition)
        if transition.name == "completed" and not lost:
            lost.append(transition)
            raise StoreUnavailable
        return job

    desk.store.apply = losing  # type: ignore[method-assign]
    running = asyncio.create_task(desk.runner(desk.three_steps()).run(await desk.claim(), Orders()))
    while not running.done():
        await asyncio.sleep(0)
        desk.clock.advance(0.5)
    assert (await desk.job()).state is JobState.COMPLETED
    assert lost
    assert desk.metrics.stale_writes._value.get() == 0


async def test_an_end_that_another_claim_wrote_is_not_taken_for_ones_own() -> None:
    """The write was lost with its answer; until it is written again, another worker has the job, and ends it."""
    desk, claims = Desk(), list[Claim]()
    await desk.accept()
    apply = desk.store.apply

    async def losing(transition: Transition) -> Job:
        if transition.name == "completed" and not claims:
            desk.clock.advance(16)
            claims.append(await desk.claim(worker="w2"))
            await apply(replace(transition, fence=claims[0].fence))
            raise StoreUnavailable
        return await apply(transition)

    desk.store.apply = losing  # type: ignore[method-assign]
    running = asyncio.create_task(desk.runner(desk.three_steps()).run(await desk.claim(), Orders()))
    while not running.done():
        await asyncio.sleep(0)
        desk.clock.advance(0.5)
    assert (await desk.job()).state is JobState.COMPLETED
    assert desk.metrics.stale_writes._value.get() == 1


async def test_progress_inside_a_step_is_weighted_written_twice_a_second_and_never_falls() -> None:
    desk, written = Desk(), []
    apply = desk.store.apply

    async def noting(transition: Transition) -> Job:
        job = await apply(transition)
        if transition.name == "progressed":
            written.append((job.progress, job.status_message))
        return job

    desk.store.apply = noting  # type: ignore[method-assign]

    async def work(context: StepContext) -> None:
        for number in (0.1, 0.2, 0.5, 0.3):
            context.report(number, f"at {number}")
        await desk.clock.sleep(0.6)
        context.report(0.9, "late")
        await desk.clock.sleep(0.6)

    await desk.accept()
    plan = clone_plan(planned(desk.step("one"), weight=1), planned(desk.step("two", acts=work), weight=3))
    running = asyncio.create_task(desk.runner(plan).run(await desk.claim(), Orders()))
    while not running.done():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        desk.clock.advance(0.1)
    assert written == [(62, "at 0.3"), (92, "late")]


@pytest.mark.parametrize("place", ["one.before_effect", "one.after_effect", "one.after_record", "two.after_record"])
async def test_a_bug_in_the_runner_itself_leaves_the_job_to_the_next_claim(place: str) -> None:
    desk = Desk()
    await desk.accept()
    plan = desk.three_steps()
    with pytest.raises(Exception, match="failpoint"):
        await desk.runner(plan, failpoints=Failpoints(f"{place}:bug")).run(await desk.claim(), Orders())
    desk.clock.advance(16)
    assert (await desk.run(plan)).state is JobState.COMPLETED
