"""Lists, measures and trimming; both stores alike."""

from datetime import timedelta

from tests.support.stores import (
    CUSTOMER,
    READY,
    StoreBench,
    accepted_clone,
    claimed,
    deletion,
    finished,
    job_id,
    new_job,
    ready_clone,
    with_customer,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Step
from wpclone.core.jobs.states import CloneState, JobKind, JobState, StepState
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.store import Page


async def test_jobs_are_listed_newest_first_page_by_page(bench: StoreBench) -> None:
    await with_customer(bench.store, "other")
    for n in range(1, 6):
        await accepted_clone(bench.store, n)
        await bench.advance(1)
    await bench.store.accept(new_job(9, customer_id="other"))
    first = await bench.store.list_jobs(customer_id=CUSTOMER, page=Page(3))
    assert [job.job_id for job in first] == [job_id(5), job_id(4), job_id(3)]
    rest = await bench.store.list_jobs(customer_id=CUSTOMER, page=Page(3, (first[-1].created_at, first[-1].job_id)))
    assert [job.job_id for job in rest] == [job_id(2), job_id(1)]
    assert len(await bench.store.list_jobs(customer_id=None, page=Page(9))) == 6
    await claimed(bench.store, job_id(2))
    running = await bench.store.list_jobs(customer_id=None, page=Page(9), state=JobState.RUNNING, kind=JobKind.CLONE)
    assert [job.job_id for job in running] == [job_id(2)]
    clones = await bench.store.list_clones(customer_id=CUSTOMER, page=Page(2))
    assert [clone.clone_id for clone in clones] == [job_id(5), job_id(4)]
    more = await bench.store.list_clones(customer_id=CUSTOMER, page=Page(9, (clones[-1].created_at, clones[-1].clone_id)))
    assert [clone.clone_id for clone in more] == [job_id(3), job_id(2), job_id(1)]


async def test_past_runs_tell_what_each_step_took_and_how_large_the_site_was(bench: StoreBench) -> None:
    for n, seconds, facts in ((1, 2, {"site_bytes": 5_000_000_000}), (2, 60, {})):
        await accepted_clone(bench.store, n)
        claim = await claimed(bench.store, job_id(n))
        await bench.store.apply(transitions.step_started(claim, Step("copy", 0, StepState.RUNNING), status_message=""))
        await bench.advance(seconds)
        claim = claim if seconds < 15 else await claimed(bench.store, job_id(n))
        await bench.store.apply(transitions.step_done(claim, Step("copy", 0, StepState.DONE, facts=facts), progress=50))
        await finished(bench.store, claim, READY)
    await accepted_clone(bench.store, 3)
    newest, first = await bench.store.past_runs(JobKind.CLONE)
    assert (newest.site_bytes, first.site_bytes) == (None, 5_000_000_000)
    assert list(newest.seconds) == list(first.seconds) == ["copy"]
    assert 60 <= newest.seconds["copy"] < 61
    assert 2 <= first.seconds["copy"] < 3
    assert await bench.store.past_runs(JobKind.DELETE) == []


async def test_old_finished_jobs_are_pruned_but_not_those_of_live_clones(bench: StoreBench) -> None:
    await ready_clone(bench.store, 1)
    await ready_clone(bench.store, 2)
    await accepted_clone(bench.store, 3)
    await bench.store.request_cancel(job_id(3))
    await accepted_clone(bench.store, 4)
    job = await bench.store.begin_delete(deletion(of=2))
    await finished(bench.store, await claimed(bench.store, job.job_id), CloneChange(CloneState.DELETED))
    assert await bench.store.prune(older_than=timedelta(days=1), most=10) == 0
    await bench.advance(2 * 86400)
    assert await bench.store.prune(older_than=timedelta(days=1), most=2) == 2
    assert await bench.store.prune(older_than=timedelta(days=1), most=2) == 1
    left = await bench.store.list_jobs(customer_id=None, page=Page(10))
    assert {job.job_id for job in left} == {job_id(1), job_id(4)}
    assert await bench.store.get_clone(job_id(2)) is None
    assert await bench.store.get_clone(job_id(1)) is not None
