"""The clones' database away: no attempt is burnt, watchers see why the job waits, and its deadline is the end of it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.support.jobs import clone_plan, planned
from tests.unit.workers.desk import Desk
from workers.outcomes import MOST_LOSSES
from workers.step import StepContext
from wpclone.core.jobs.errors import RetryLater
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, StepState
from wpclone.wordpress.errors import FencedOff, Reason, SiteError

AWAY = [
    SiteError(Reason.TARGET_DATABASE_DOWN, error="2003"),
    RetryLater("CLONES_DATABASE_UNAVAILABLE", "The database of the clones does not answer.", metadata={"error": "2003"}),
]
LOST = SiteError(Reason.TARGET_DATABASE_DOWN, error="2013")


def failing(times: int, error: Exception) -> Callable[[StepContext], None]:
    """What a step does that meets this error so often."""
    errors = iter([error] * times)

    def act(_context: StepContext) -> None:
        if (met := next(errors, None)) is not None:
            raise met

    return act


async def run_times(desk: Desk, times: int, act: Callable[[StepContext], None]) -> Job:
    """Run a job of one step so often, the clock moved to each next attempt."""
    plan = clone_plan(planned(desk.step("one", acts=act)))
    for _ in range(times):
        job = await desk.run(plan)
        desk.clock.advance(max(timedelta(0), job.next_run_at - desk.clock.now()))
    return job


@pytest.mark.parametrize("error", AWAY, ids=["copying", "making"])
async def test_a_clones_database_that_is_away_is_waited_for_and_burns_no_attempt(error: Exception) -> None:
    desk = Desk()
    await desk.accept()
    act = failing(90, error)
    job = await run_times(desk, 50, act)
    assert (job.state, job.attempt, job.lapses) == (JobState.PENDING, 0, 0)
    assert job.status_message == f"Waiting for the clones' database: {error}"
    assert (job.steps[0].state, job.steps[0].attempts) == (StepState.WAITING, 0)
    job = await run_times(desk, 41, act)
    assert (job.state, job.attempt, job.lapses, job.steps[0].attempts) == (JobState.COMPLETED, 0, 0, 1)


@pytest.mark.parametrize("error", AWAY, ids=["copying", "making"])
async def test_a_clones_database_that_stays_away_is_named_when_the_deadline_ends_the_job(error: Exception) -> None:
    desk = Desk()
    await desk.accept(run_for=timedelta(seconds=60))
    job = await desk.run_to_the_end(clone_plan(planned(desk.step("one")), planned(desk.step("two", acts=failing(99, error)))))
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.reason, job.error.step) == ("DEADLINE_EXCEEDED", "two")
    assert job.error.message == f"The job did not finish before its deadline; what kept it last: {error}"
    assert job.error.metadata["cause"] in {"TARGET_DATABASE_DOWN", "CLONES_DATABASE_UNAVAILABLE"}
    assert 10 < desk.effects.done["two"] < 60
    assert desk.effects.order[-2:] == ["undo two", "undo one"]


async def test_a_statement_that_ends_every_connection_uses_up_its_attempts() -> None:
    """It may be what makes the server crash, for all clones."""
    desk = Desk()
    await desk.accept()
    assert (await run_times(desk, MOST_LOSSES, failing(99, LOST))).attempt == 0
    one = planned(desk.step("one", acts=failing(99, LOST)))
    job = await desk.run_to_the_end(clone_plan(one))
    assert (job.state, job.steps[0].attempts) == (JobState.FAILED, one.retry.attempts)
    assert job.error is not None
    assert job.error.reason == "TARGET_DATABASE_DOWN"
    assert desk.effects.done["one"] == MOST_LOSSES + one.retry.attempts


async def test_losses_count_only_while_the_job_gets_nowhere() -> None:
    desk = Desk()
    await desk.accept()

    async def work(context: StepContext) -> None:
        if desk.effects.done["one"] <= 3 * MOST_LOSSES:
            context.report(desk.effects.done["one"] / 100, "copying")
            await desk.clock.sleep(0.5)
            raise LOST

    plan = clone_plan(planned(desk.step("one", acts=work)))
    for _ in range(3 * MOST_LOSSES + 1):
        running = asyncio.create_task(desk.run(plan))
        while not running.done():
            await asyncio.sleep(0)
            desk.clock.advance(0.1)
        job = running.result()
        desk.clock.advance(max(timedelta(0), job.next_run_at - desk.clock.now()))
    assert (job.state, job.steps[0].attempts) == (JobState.COMPLETED, 1)


async def test_an_outage_in_between_does_not_make_losses_forgotten() -> None:
    desk = Desk()
    await desk.accept()
    errors = [error for _ in range(MOST_LOSSES) for error in (LOST, AWAY[0])] + [LOST]

    def act(_context: StepContext) -> None:
        raise errors[desk.effects.done["one"] - 1]

    assert (await run_times(desk, 2 * MOST_LOSSES, act)).attempt == 0
    assert (await run_times(desk, 1, act)).attempt == 1


async def test_a_server_that_refuses_a_statement_is_there() -> None:
    desk = Desk()
    await desk.accept()
    lock_wait = SiteError(Reason.TARGET_DATABASE_DOWN, error="1205")
    job = await desk.run(clone_plan(planned(desk.step("one", acts=failing(99, lock_wait)))))
    assert (job.state, job.attempt, job.steps[0].attempts) == (JobState.PENDING, 1, 1)


async def test_an_undo_that_meets_an_outage_ends_all_the_same() -> None:
    """It has no deadline, so its attempts are what bounds it."""
    desk = Desk()
    await desk.accept()
    no = SiteError(Reason.LOGIN_REFUSED)
    one = planned(desk.step("one", undo_acts=failing(99, AWAY[1])))
    job = await desk.run_to_the_end(clone_plan(one, planned(desk.step("two", acts=failing(99, no)))))
    assert (job.state, job.needs_attention) == (JobState.FAILED, True)


async def test_a_step_that_was_handed_back_goes_on_as_the_same_attempt() -> None:
    desk = Desk()
    await desk.accept()
    job = await run_times(desk, 2, failing(1, FencedOff()))
    assert (job.state, desk.effects.done["one"], job.steps[0].attempts) == (JobState.COMPLETED, 2, 1)
