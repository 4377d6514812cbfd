import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from tests.support.jobs import clone_id, clone_plan, planned
from tests.unit.workers.desk import Desk, forever
from workers.attempt import GRACE
from workers.failpoints import Failpoints
from workers.orders import Orders
from workers.step import StepContext
from wpclone.core.bus import subjects
from wpclone.core.jobs.errors import Fatal, RetryLater, StoreUnavailable
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, StepState, Verdict
from wpclone.core.jobs.transitions import Transition
from wpclone.wordpress.errors import FencedOff, Reason, SiteError

STEPS = ["one", "two", "three"]
NO = Fatal("X", "No.")


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
    plan = clone_plan(planned(desk.step("one")), planned(desk.step("two", acts=_fails_times(1))))
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


def noted(desk: Desk) -> list[str]:
    """The names of all writes from now on, refused ones too."""
    written: list[str] = []
    apply = desk.store.apply

    async def noting(transition: Transition) -> Job:
        written.append(transition.name)
        return await apply(transition)

    desk.store.apply = noting  # type: ignore[method-assign]
    return written


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
    plan = clone_plan(planned(desk.step("one", acts=_fails_times(1, after=timedelta(seconds=9)))))
    job = await desk.run(plan)
    assert (job.state, job.attempt, job.steps[0].state) == (JobState.PENDING, 1, StepState.WAITING)
    assert job.next_run_at - desk.clock.now() == timedelta(seconds=9)
    assert job.steps[0].last_error is not None
    assert job.steps[0].last_error.reason == "NOT_YET"
    assert "attempt 1 of 3" in job.status_message


async def test_a_step_that_uses_up_its_attempts_condemns_the_job_and_all_is_undone_in_reverse() -> None:
    desk = Desk()
    await desk.accept()
    plan = clone_plan(planned(desk.step("one")), planned(desk.step("two")), planned(desk.step("three", acts=_fails_times(99))))
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
    job = await desk.run(clone_plan(planned(desk.step("one", acts=_raises(Fatal("NO_SPACE", "There is no space."))))))
    assert (job.state, desk.effects.done["one"], desk.effects.undone["one"]) == (JobState.FAILED, 1, 1)
    assert job.error is not None
    assert (job.error.reason, job.error.message) == ("NO_SPACE", "There is no space.")


@pytest.mark.parametrize(("reason", "ends"), [(Reason.LOGIN_REFUSED, True), (Reason.SOURCE_BUSY, False)])
async def test_a_site_error_is_final_unless_it_is_transient(reason: Reason, ends: bool) -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run(clone_plan(planned(desk.step("one", acts=_raises(SiteError(reason))))))
    assert job.state is (JobState.FAILED if ends else JobState.PENDING)
    assert job.steps[0].last_error is not None
    assert job.steps[0].last_error.reason == reason.value


async def test_a_bug_in_a_step_is_retried_within_limits_and_shows_nothing_internal() -> None:
    desk = Desk()
    await desk.accept()
    job = await desk.run_to_the_end(clone_plan(planned(desk.step("one", acts=_raises(KeyError("secret detail"))))))
    assert desk.effects.done["one"] == 3
    assert job.error is not None
    assert job.error.reason == "INTERNAL"
    assert "secret" not in job.error.message


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
    plan = clone_plan(planned(desk.step("one", acts=_fails_times(1))), planned(desk.step("two")))
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
        planned(desk.step("one", undo_acts=_fails_times(1))),
        planned(desk.step("two", acts=_raises(NO))),
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
        planned(desk.step("two", undo_acts=_fails_times(99))),
        planned(desk.step("three", acts=_raises(NO))),
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
    plan = clone_plan(planned(desk.step("one", acts=_fails_times(1))))
    await desk.run(plan)
    for _ in range(11):
        desk.clock.advance(16)
        await desk.claim()
    desk.clock.advance(16)
    job = await desk.run(plan)
    assert (job.state, job.needs_attention, desk.effects.undone["one"]) == (JobState.FAILED, True, 0)


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
    job = await desk.run(clone_plan(planned(desk.step("one", acts=_raises(FencedOff())))))
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


def _raises(error: Exception) -> object:
    def act(_context: StepContext) -> None:
        raise error

    return act


def _fails_times(times: int, *, after: timedelta | None = None) -> object:
    failures = iter(range(times))

    def act(_context: StepContext) -> None:
        if next(failures, None) is not None:
            raise RetryLater("NOT_YET", "It is not there yet.", after=after)

    return act


async def turns(count: int) -> None:
    """Let the loop run what is ready, this many times."""
    for _ in range(count):
        await asyncio.sleep(0)
