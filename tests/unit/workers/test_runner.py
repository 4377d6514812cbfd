"""A job runs: its steps in order, each recorded, retried within limits."""

import asyncio
from datetime import timedelta

import pytest

from tests.support.jobs import clone_id, clone_plan, planned
from tests.unit.workers.desk import STEPS, Desk, fails_times, noted, raised_in_step
from workers.orders import Orders
from workers.step import StepContext
from wpclone.core.bus import subjects
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, StepState, Verdict
from wpclone.core.jobs.transitions import Transition
from wpclone.wordpress.errors import Reason, SiteError


async def test_a_job_runs_its_steps_in_order_and_completes_with_its_clone_ready() -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run(desk.three_steps())
    assert (job.state, job.progress, job.error) == (JobState.COMPLETED, 100, None)
    assert desk.effects.order == ["do one", "do two", "do three"]
    assert [(s.name, s.position, s.state, s.attempts) for s in job.steps] == [
        (n, i, StepState.DONE, 1) for i, n in enumerate(STEPS)
    ]
    assert job.result is not None
    assert job.result["steps"] == sorted(STEPS)
    assert await desk.clone_state() == "ready"


async def test_a_step_sees_the_facts_of_the_steps_before_it() -> None:
    desk = Desk()
    seen: dict[str, object] = {}

    def look(context: StepContext) -> None:
        seen.update(context.facts)

    await desk.accept()
    await desk.run(clone_plan(planned(desk.step("one")), planned(desk.step("two", acts=look))))
    assert seen == {"one": {"made": f"one of {clone_id(1)}"}}


async def test_a_step_with_a_record_is_not_done_again() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one")), planned(desk.step("two", acts=fails_times(1))))
    await desk.run_to_the_end(plan)
    assert desk.effects.done == {"one": 1, "two": 2}


async def test_each_committed_change_is_told_to_watchers_with_growing_revisions() -> None:
    desk = Desk()
    told = desk.bus.listen(subjects.event(clone_id(1)))
    await desk.accept()
    job = await desk.run(desk.three_steps())
    revisions: list[int] = []
    while not revisions or revisions[-1] < job.revision:
        async with asyncio.timeout(1):
            _, payload = await anext(told)
        revisions.append(payload["revision"])
    assert revisions == list(range(3, job.revision + 1))
    assert payload["job"]["state"] == "completed"


async def test_a_step_begins_in_the_change_that_records_the_one_before_it_and_the_job_ends_with_the_last() -> None:
    desk = Desk()
    written = noted(desk)
    await desk.accept()
    await desk.run(desk.three_steps())
    assert written == ["step_started", "step_followed", "step_followed", "completed"]


async def test_a_cancel_that_the_record_of_a_step_learns_of_keeps_the_next_from_being_done() -> None:
    desk = Desk()
    apply = desk.store.apply

    async def late(transition: Transition) -> Job:
        if transition.name == "step_followed":
            await desk.store.request_cancel(clone_id(1))
        return await apply(transition)

    desk.store.apply = late  # type: ignore[method-assign]
    await desk.accept()
    job = await desk.run(desk.three_steps())
    assert job.state is JobState.CANCELLED
    assert desk.effects.order == ["do one", "undo two", "undo one"]
    assert {s.state for s in job.steps} == {StepState.UNDONE}


async def test_a_cancel_that_came_with_the_claim_keeps_the_first_step_from_being_done() -> None:
    desk = Desk()
    await desk.accept()
    claim = await desk.claim()
    await desk.store.request_cancel(clone_id(1))
    await desk.runner(desk.three_steps()).run(claim, Orders())
    assert desk.effects.order == ["undo one"]
    job = await desk.store.get_job(clone_id(1))
    assert job is not None
    assert job.state is JobState.CANCELLED


async def test_a_step_that_asks_for_a_retry_waits_at_least_as_long_as_it_asked() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one", acts=fails_times(1, after=timedelta(seconds=9)))))
    job = await desk.run(plan)
    assert (job.state, job.attempt, job.steps[0].state) == (JobState.PENDING, 1, StepState.WAITING)
    assert job.next_run_at - desk.clock.now() == timedelta(seconds=9)
    assert job.steps[0].last_error is not None
    assert job.steps[0].last_error.reason == "NOT_YET"
    assert "attempt 1 of 3" in job.status_message


async def test_a_step_that_uses_up_its_attempts_condemns_the_job_and_all_is_undone_in_reverse() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one")), planned(desk.step("two")), planned(desk.step("three", acts=fails_times(99))))
    job = await desk.run_to_the_end(plan)
    assert (job.state, job.verdict, desk.effects.done["three"]) == (JobState.FAILED, Verdict.FAIL, 3)
    assert desk.effects.order[-3:] == ["undo three", "undo two", "undo one"]
    assert job.error is not None
    assert (job.error.reason, job.error.step) == ("NOT_YET", "three")
    assert await desk.clone_state() == "failed"
    assert {s.state for s in job.steps} == {StepState.UNDONE}


async def test_a_fatal_step_is_not_retried() -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run(clone_plan(planned(desk.step("one", acts=raised_in_step(Fatal("NO_SPACE", "There is no space."))))))
    assert (job.state, desk.effects.done["one"], desk.effects.undone["one"]) == (JobState.FAILED, 1, 1)
    assert job.error is not None
    assert (job.error.reason, job.error.message) == ("NO_SPACE", "There is no space.")


@pytest.mark.parametrize(("reason", "ends"), [(Reason.LOGIN_REFUSED, True), (Reason.SOURCE_BUSY, False)])
async def test_a_site_error_is_final_unless_it_is_transient(reason: Reason, ends: bool) -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run(clone_plan(planned(desk.step("one", acts=raised_in_step(SiteError(reason))))))
    assert job.state is (JobState.FAILED if ends else JobState.PENDING)
    assert job.steps[0].last_error is not None
    assert job.steps[0].last_error.reason == reason.value


async def test_a_bug_in_a_step_is_retried_within_limits_and_shows_nothing_internal() -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run_to_the_end(clone_plan(planned(desk.step("one", acts=raised_in_step(KeyError("secret detail"))))))
    assert desk.effects.done["one"] == 3
    assert job.error is not None
    assert job.error.reason == "INTERNAL"
    assert "secret" not in job.error.message
