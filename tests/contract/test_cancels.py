"""Cancels: at once where nobody runs the job, else noted once for its worker; both stores alike."""

from datetime import timedelta

import pytest

from tests.support.stores import (
    DUE_NOW,
    StoreBench,
    accepted_clone,
    claimed,
    clone_of,
    deletion,
    job_id,
    key,
    ready_clone,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import (
    JobFinished,
    JobNotFound,
    WrongState,
)
from wpclone.core.jobs.job import Step
from wpclone.core.jobs.states import CloneState, JobKind, JobState, StepState


async def test_a_job_nobody_claimed_is_cancelled_at_once_and_again_the_same(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    job = await bench.store.request_cancel(job_id(1), key=key(method="CancelJob"))
    assert (job.state, job.revision) == (JobState.CANCELLED, 2)
    assert job.completed_at is not None
    assert (await clone_of(bench.store)).state is CloneState.FAILED
    assert await bench.store.request_cancel(job_id(1), key=key(method="CancelJob")) == job
    assert await bench.store.request_cancel(job_id(1)) == job
    assert await bench.store.claim(job_id(1), worker="w1") is None


async def test_a_cancel_is_noted_once_and_makes_a_waiting_job_due(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    step = Step("preflight", 0, StepState.WAITING)
    await bench.store.apply(transitions.retry_later(claim, step, attempt=1, pause=timedelta(seconds=300), status_message=""))
    noted = await bench.store.request_cancel(job_id(1))
    assert (noted.state, noted.revision) == (JobState.PENDING, 4)
    assert noted.cancel_requested_at is not None
    assert (await bench.store.request_cancel(job_id(1))).revision == 4
    await bench.advance(0.001)
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1
    await claimed(bench.store, job_id(1))


async def test_finished_unknown_and_deleting_jobs_cannot_be_cancelled(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    with pytest.raises(JobFinished):
        await bench.store.request_cancel(job_id(1))
    with pytest.raises(JobNotFound):
        await bench.store.request_cancel(job_id(2))
    await bench.store.begin_delete(deletion())
    with pytest.raises(WrongState):
        await bench.store.request_cancel(job_id(9, JobKind.DELETE))
