"""The promises of `core.store` about the writes of a worker on its way: one change or none, whatever the worker knows already."""

from dataclasses import replace

import pytest

from tests.support.stores import StoreBench, accepted_clone, claimed, job_id
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StaleClaim
from wpclone.core.jobs.job import Claim, Job, JobError, Step
from wpclone.core.jobs.states import CloneState, JobState, StepState
from wpclone.core.jobs.transitions import CloneChange, Transition
from wpclone.core.store import JobStore

READY = CloneChange(CloneState.READY, url="http://clone.test", starts_ttl=True)
ERROR = JobError("The line was cut.", "SOURCE_UNREACHABLE", "copy", {"at": "ü"})


def steps_of(claim: Claim) -> list[Transition]:
    """The way of a job with two steps, the first of which found something, as far as the record of the second."""
    copy, guard = Step("copy", 0, StepState.RUNNING, 1, facts={"n": [1, None]}), Step("guard", 1, StepState.RUNNING, 1)
    done = transitions.step_done(claim, replace(copy, state=StepState.DONE, facts={}, last_error=ERROR), progress=60)
    return [
        transitions.step_started(claim, copy, status_message="Copying."),
        transitions.progressed(claim, progress=30, status_message="Half of it: ü\udc80"),
        transitions.step_followed(done, guard, status_message="Guarding."),
        transitions.progressed(claim, progress=20, status_message="again"),
        transitions.step_done(claim, replace(guard, state=StepState.DONE, facts={"key": "ü"}), progress=99),
    ]


async def stored(store: JobStore, number: int = 1) -> Job:
    job = await store.get_job(job_id(number))
    assert job is not None
    return job


async def test_a_write_gives_the_whole_job_also_when_most_of_it_was_known(bench: StoreBench) -> None:
    store = bench.store
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    job = claim.job
    for transition in steps_of(claim):
        job = await store.apply(replace(transition, known=job))
        assert job == await stored(store)
    assert job.revision == claim.job.revision + 5
    assert [(step.state, step.facts) for step in job.steps] == [
        (StepState.DONE, {"n": [1, None]}),
        (StepState.DONE, {"key": "ü"}),
    ]
    assert job.steps[0].last_error == ERROR


async def test_a_write_tells_what_others_changed_meanwhile(bench: StoreBench) -> None:
    store = bench.store
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    start, *_, end = steps_of(claim)
    await store.request_cancel(job_id(1))
    job = await store.apply(replace(start, known=claim.job))
    assert job.cancel_requested_at is not None
    assert job == await stored(store)
    # Its answer was lost: the worker writes it again, and knows an older job than there is.
    again = await store.apply(replace(start, known=claim.job))
    assert (again.revision, again) == (job.revision + 1, await stored(store))
    assert await store.apply(replace(end, known=again)) == await stored(store)


async def test_a_write_under_an_old_fence_leaves_nothing_also_when_the_job_was_known(bench: StoreBench) -> None:
    store = bench.store
    await accepted_clone(store)
    first = await claimed(store, job_id(1))
    await bench.advance(16)
    await claimed(store, job_id(1), "w2")
    before = await stored(store)
    for transition in steps_of(first):
        for known in (first.job, before, replace(before, fence=first.fence)):
            with pytest.raises(StaleClaim):
                await store.apply(replace(transition, known=known))
    assert await stored(store) == before


async def test_the_end_of_the_last_step_and_of_the_job_are_one_change_or_none(bench: StoreBench) -> None:
    for number in (1, 2):
        await accepted_clone(bench.store, number)
    last = Step("guard", 4, StepState.DONE, 1, facts={"size": 7})
    claims = [await claimed(bench.store, job_id(number)) for number in (1, 2)]
    await bench.store.request_cancel(job_id(2))
    before = await stored(bench.store, 2)
    ends = [transitions.completed(claim, result={}, status_message="Done.", clone=READY, last=last) for claim in claims]
    job = await bench.store.apply(ends[0])
    assert (job.state, job.revision, job.progress) == (JobState.COMPLETED, claims[0].job.revision + 1, 100)
    assert [(step.name, step.state, step.facts) for step in job.steps] == [("guard", StepState.DONE, {"size": 7})]
    assert job.steps[0].finished_at is not None
    assert await stored(bench.store) == job
    with pytest.raises(StaleClaim):
        await bench.store.apply(ends[1])
    assert await stored(bench.store, 2) == before
