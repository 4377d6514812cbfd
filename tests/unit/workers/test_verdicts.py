"""Cancels, verdicts and lapses: what was begun is undone, in reverse and once."""

import asyncio

import pytest

from tests.support.jobs import clone_id, clone_plan, planned
from tests.unit.workers.desk import NO, STEPS, Desk, fails_times, forever, noted, raised_in_step
from workers.orders import Orders
from workers.step import StepContext
from wpclone.core.jobs.states import JobState, StepState, Verdict


@pytest.mark.parametrize("at", STEPS)
async def test_a_cancel_stops_the_running_step_and_undoes_what_was_begun(at: str) -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(*(planned(desk.step(n, acts=lambda _c, n=n: forever() if n == at else None)) for n in STEPS))
    orders, claim = Orders(), await desk.claim()
    running = asyncio.create_task(desk.runner(plan).run(claim, orders))
    await desk.at_step(at)
    await desk.store.request_cancel(clone_id(1))
    orders.cancel()
    async with asyncio.timeout(1):
        await running
    job = await desk.job()
    begun = STEPS[: STEPS.index(at) + 1]
    assert (job.state, job.verdict) == (JobState.CANCELLED, Verdict.CANCEL)
    assert [line for line in desk.effects.order if line.startswith("undo")] == [f"undo {n}" for n in reversed(begun)]
    assert await desk.clone_state() == "failed"


async def test_a_cancel_that_was_asked_while_nobody_ran_the_job_is_obeyed_first() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=fails_times(1))), planned(desk.step("two")))
    await desk.run(plan)
    await desk.store.request_cancel(clone_id(1))
    job = await desk.run(plan)
    assert job.state is JobState.CANCELLED
    assert desk.effects.order == ["do one", "undo one"]


async def test_a_cancel_that_races_completion_wins_when_it_was_recorded_first() -> None:
    desk = Desk()
    await desk.accept()

    async def cancel(_context: StepContext) -> None:
        await desk.store.request_cancel(clone_id(1))

    # The order never reaches the worker: only the store knows of it when completion is written.
    written = noted(desk)
    job = await desk.run(clone_plan(planned(desk.step("one", acts=cancel))))
    assert (job.state, desk.effects.undone["one"]) == (JobState.CANCELLED, 1)
    assert written == ["step_started", "completed", "step_done", "condemned", "step_undone", "cancelled"]
    assert job.steps[0].facts == {"made": f"one of {clone_id(1)}"}


async def test_the_verdict_is_kept_and_no_later_claim_does_another_step() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(
        planned(desk.step("one", undo_acts=fails_times(1))),
        planned(desk.step("two", acts=raised_in_step(NO))),
        planned(desk.step("three")),
    )
    job = await desk.run(plan)
    assert (job.state, job.verdict) == (JobState.PENDING, Verdict.FAIL)
    desk.clock.advance(60)
    job = await desk.run(plan)
    assert job.state is JobState.FAILED
    assert desk.effects.order == ["do one", "do two", "undo two", "undo one", "undo one"]
    assert job.error is not None
    assert job.error.reason == "X"


async def test_an_undo_that_gives_up_leaves_the_job_needing_attention_and_undoes_the_rest() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(
        planned(desk.step("one")),
        planned(desk.step("two", undo_acts=fails_times(99))),
        planned(desk.step("three", acts=raised_in_step(NO))),
    )
    job = await desk.run_to_the_end(plan)
    assert (job.state, job.needs_attention) == (JobState.FAILED, True)
    assert desk.effects.undone == {"three": 1, "two": 3, "one": 1}
    assert job.steps[1].last_error is not None
    assert job.steps[1].last_error.reason == "UNDO_GAVE_UP"


async def test_a_worker_that_lost_its_claim_stops_before_the_next_step() -> None:
    desk = Desk()
    await desk.accept()

    async def lose(_context: StepContext) -> None:
        desk.clock.advance(16)
        await desk.claim(worker="w2")

    job = await desk.run(clone_plan(planned(desk.step("one", acts=lose)), planned(desk.step("two"))))
    assert (job.state, job.fence) == (JobState.RUNNING, 2)
    assert desk.effects.order == ["do one"]
    assert job.steps[0].state is StepState.RUNNING


async def test_a_job_whose_workers_are_lost_five_times_is_given_up() -> None:
    desk = Desk()
    await desk.accept()
    plan = desk.three_steps()
    for _ in range(5):
        await desk.claim()
        desk.clock.advance(16)
    job = await desk.run(plan)
    assert (job.lapses, job.state) == (5, JobState.FAILED)
    assert job.error is not None
    assert job.error.reason == "WORKER_LOST"
    assert desk.effects.order == []


async def test_an_undo_that_kills_its_workers_is_given_up_after_ten_lapses() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=fails_times(1))))
    await desk.run(plan)
    for _ in range(11):
        desk.clock.advance(16)
        await desk.claim()
    desk.clock.advance(16)
    job = await desk.run(plan)
    assert (job.state, job.needs_attention, desk.effects.undone["one"]) == (JobState.FAILED, True, 0)
