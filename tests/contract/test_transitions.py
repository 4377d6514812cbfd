"""What a worker writes of its job: steps, verdict and end, each one revision; both stores alike."""

from datetime import timedelta

import pytest

from tests.support.stores import (
    DUE_NOW,
    ERROR,
    READY,
    StoreBench,
    accepted_clone,
    claimed,
    clone_of,
    finished,
    job_id,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import (
    JobNotFound,
    StaleClaim,
)
from wpclone.core.jobs.job import Step
from wpclone.core.jobs.states import CloneState, JobState, Priority, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.jobs.view import from_rfc3339


async def test_steps_are_recorded_with_the_stores_times_and_each_change_is_one_revision(bench: StoreBench) -> None:
    store = bench.store
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    started = await store.apply(
        transitions.step_started(
            claim, Step("copy_files", 3, StepState.RUNNING, facts={"cursor": "ä"}), status_message="Copying."
        )
    )
    assert (started.revision, started.status_message) == (3, "Copying.")
    assert started.steps[0].started_at is not None
    assert started.steps[0].finished_at is None
    await store.apply(transitions.step_started(claim, Step("preflight", 0, StepState.RUNNING), status_message="Looking."))
    await bench.advance(5)
    job = await store.apply(transitions.step_done(claim, Step("copy_files", 3, StepState.DONE, attempts=2), progress=40))
    assert [s.name for s in job.steps] == ["preflight", "copy_files"]
    done = job.steps[1]
    assert (done.state, done.attempts, done.facts) == (StepState.DONE, 2, {"cursor": "ä"})
    assert done.finished_at is not None
    assert done.started_at is not None
    assert timedelta(seconds=4) < done.finished_at - done.started_at < timedelta(seconds=30)
    assert (job.progress, job.revision) == (40, 5)
    assert await store.get_job(job.job_id) == job


async def test_a_job_whose_worker_was_lost_is_rung_before_those_that_never_began(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await accepted_clone(bench.store, 2)
    await claimed(bench.store, job_id(1))
    await bench.advance(16)
    rings = {ring.job_id: ring.priority for ring in await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)}
    assert rings == {job_id(1): Priority.HIGH, job_id(2): Priority.NORMAL}
    job = await bench.store.get_job(job_id(1))
    assert job is not None
    assert job.priority is Priority.NORMAL


async def test_the_end_of_a_step_and_the_beginning_of_the_next_are_one_change(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    done = transitions.step_done(claim, Step("preflight", 0, StepState.DONE, 1, facts={"size": 7}), progress=20)
    follower = Step("copy_files", 1, StepState.RUNNING, 1)
    job = await bench.store.apply(transitions.step_followed(done, follower, status_message="Copying."))
    assert (job.revision, job.progress, job.status_message) == (3, 20, "Copying.")
    assert [(s.name, s.state, s.facts, s.finished_at is None) for s in job.steps] == [
        ("preflight", StepState.DONE, {"size": 7}, False), ("copy_files", StepState.RUNNING, {}, True),
    ]  # fmt: skip
    assert job.steps[1].started_at is not None
    assert await bench.store.get_job(job.job_id) == job


async def test_progress_never_falls(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    await bench.store.apply(transitions.progressed(claim, progress=50, status_message="half"))
    job = await bench.store.apply(transitions.progressed(claim, progress=20, status_message="again"))
    assert (job.progress, job.status_message, job.revision) == (50, "again", 4)


async def test_a_completed_clone_is_ready_and_its_life_counts_from_then(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    await bench.advance(14)
    job = await bench.store.apply(transitions.completed(claim, result={"rows": 3}, status_message="Done.", clone=READY))
    assert (job.state, job.progress, job.error) == (JobState.COMPLETED, 100, None)
    assert job.completed_at is not None
    clone = await clone_of(bench.store)
    assert (clone.state, clone.url, clone.admin_login, clone.facts) == (
        CloneState.READY, "http://clone.test", "editor", {"port": 1},
    )  # fmt: skip
    assert clone.ready_at is not None
    assert clone.expires_at == clone.ready_at + timedelta(minutes=10)
    assert clone.ready_at - clone.created_at >= timedelta(seconds=14)
    assert job.result is not None
    assert job.result["rows"] == 3
    assert from_rfc3339(job.result["expires_at"]) == clone.expires_at
    with pytest.raises(StaleClaim):
        await bench.store.apply(transitions.progressed(claim, progress=1, status_message=""))
    assert await bench.store.claim(job_id(1), worker="w2") is None


async def test_a_verdict_is_kept_until_the_job_has_failed(bench: StoreBench) -> None:
    store = bench.store
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    step = Step("preflight", 0, StepState.FAILED, attempts=1, last_error=ERROR)
    job = await store.apply(transitions.condemned(claim, Verdict.FAIL, ERROR, step, status_message="Undoing."))
    assert (job.state, job.verdict, job.error) == (JobState.RUNNING, Verdict.FAIL, ERROR)
    job = await store.apply(transitions.step_undone(claim, Step("preflight", 0, StepState.UNDONE, attempts=1)))
    assert job.steps[0].last_error == ERROR
    change = CloneChange(CloneState.FAILED)
    job = await store.apply(transitions.failed(claim, clone=change, needs_attention=True, status_message="Failed."))
    assert (job.state, job.error, job.needs_attention) == (JobState.FAILED, ERROR, True)
    assert job.completed_at is not None
    assert (await clone_of(store)).state is CloneState.FAILED
    assert await store.needs_attention() == 1
    attended = await store.attended(job.job_id)
    assert (attended.needs_attention, attended.state, attended.revision) == (False, JobState.FAILED, job.revision + 1)
    assert (await store.attended(job.job_id)).revision == attended.revision
    assert (await store.get_job(job.job_id), await store.needs_attention()) == (attended, 0)
    with pytest.raises(JobNotFound):
        await store.attended(job_id(99))


async def test_a_cancel_request_forbids_completion(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    await bench.store.request_cancel(job_id(1))
    with pytest.raises(StaleClaim) as refusal:
        await finished(bench.store, claim, READY)
    assert refusal.value.metadata["cancel_requested"] == "true"
    assert (await clone_of(bench.store)).state is CloneState.CREATING
    job = await bench.store.apply(
        transitions.cancelled(claim, clone=CloneChange(CloneState.FAILED), needs_attention=False, status_message="Cancelled.")
    )
    assert job.state is JobState.CANCELLED


async def test_a_claim_that_was_overtaken_is_told_so_and_not_of_a_cancel(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    first = await claimed(bench.store, job_id(1))
    await bench.advance(16)
    await claimed(bench.store, job_id(1), "w2")
    await bench.store.request_cancel(job_id(1))
    with pytest.raises(StaleClaim) as refusal:
        await finished(bench.store, first, READY)
    assert "cancel_requested" not in refusal.value.metadata


async def test_a_job_handed_back_may_run_at_once_without_a_lapse_or_an_attempt(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    job = await bench.store.apply(transitions.handed_back(claim))
    assert (job.state, job.attempt) == (JobState.PENDING, 0)
    await bench.advance(0.001)
    assert [ring.job_id for ring in await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)] == [job_id(1)]
    again = await claimed(bench.store, job_id(1), "w2")
    assert (again.fence, again.job.lapses, again.lapsed) == (2, 0, False)


async def test_long_messages_and_broken_text_are_kept_as_well_as_they_can_be(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    job = await bench.store.apply(transitions.progressed(claim, progress=1, status_message="x" * 100_000))
    assert len(job.status_message) == 2000
    odd = "%s %(x)s '\\\" ; -- \x00 😀"
    step = Step("a", 0, StepState.RUNNING, facts={"name": odd, "list": [1, 2.5, None, True, {"x": "y"}]})
    job = await bench.store.apply(transitions.step_started(claim, step, status_message=odd))
    assert job.status_message == odd
    assert job.steps[0].facts == step.facts
    bad = Step("b", 1, StepState.RUNNING, facts={"name": "\udcff"})
    job = await bench.store.apply(transitions.step_started(claim, bad, status_message="ok"))
    assert len(job.steps) == 2
