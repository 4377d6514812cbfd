"""Claims: one worker at a time, leases, lapses and caps; both stores alike."""

from datetime import timedelta

import pytest

from tests.support.stores import (
    DUE_NOW,
    ERROR,
    READY,
    StoreBench,
    accepted_clone,
    at_once,
    claimed,
    clone_of,
    deletion,
    finished,
    job_id,
    new_job,
    ready_clone,
    with_customer,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import (
    StaleClaim,
)
from wpclone.core.jobs.job import Limits, Step
from wpclone.core.jobs.states import CloneState, JobKind, JobState, StepState


async def test_a_claim_runs_the_job_under_a_growing_fence_and_nobody_else_gets_it(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claim = await claimed(bench.store, job_id(1))
    assert (claim.fence, claim.job.state, claim.job.revision, claim.job.lapses) == (1, JobState.RUNNING, 2, 0)
    assert await bench.store.claim(job_id(1), worker="w2") is None
    assert await bench.store.claim(job_id(99), worker="w2") is None


async def test_of_twenty_workers_at_once_one_gets_the_job(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    claims = await at_once(bench.store, [bench.store.claim(job_id(1), worker=f"w{n}") for n in range(20)])
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_a_lapsed_lease_lets_another_worker_in_counts_a_lapse_and_shuts_the_first_out(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    first = await claimed(bench.store, job_id(1))
    await bench.advance(16)
    second = await claimed(bench.store, job_id(1), "w2")
    assert (second.fence, second.job.lapses, first.lapsed, second.lapsed) == (2, 1, False, True)
    with pytest.raises(StaleClaim):
        await bench.store.apply(transitions.progressed(first, progress=10, status_message="late"))
    with pytest.raises(StaleClaim):
        await finished(bench.store, first, READY)
    assert await bench.store.renew("w1", {job_id(1): 1}) == []
    assert (await clone_of(bench.store)).state is CloneState.CREATING


async def test_renewal_keeps_a_lease_expired_or_not_and_brings_the_cancel(bench: StoreBench) -> None:
    for n in (1, 2, 3):
        await accepted_clone(bench.store, n)
    fences = {c.job.job_id: c.fence for c in [await claimed(bench.store, job_id(n)) for n in (1, 2)]}
    await claimed(bench.store, job_id(3), "w2")
    await bench.advance(20)
    await bench.store.request_cancel(job_id(2))
    renewed = await bench.store.renew("w1", fences | {job_id(3): 1, job_id(4): 1})
    assert {r.job_id: r.cancel_requested for r in renewed} == {job_id(1): False, job_id(2): True}
    assert await bench.store.claim(job_id(1), worker="w3") is None
    assert await bench.store.claim(job_id(3), worker="w3") is not None
    assert await bench.store.renew("w1", {job_id(1): 7}) == []
    assert await bench.store.renew("w1", {}) == []


async def test_a_worker_learns_what_it_holds_leases_over_or_not(bench: StoreBench) -> None:
    for n in (1, 2, 3):
        await accepted_clone(bench.store, n)
    first, second = [await claimed(bench.store, job_id(n)) for n in (1, 2)]
    await claimed(bench.store, job_id(3), "w2")
    await bench.advance(20)
    assert await bench.store.claims_of("w1") == {job_id(1): first.fence, job_id(2): second.fence}
    await bench.store.apply(transitions.handed_back(first))
    await claimed(bench.store, job_id(2), "w2")
    assert await bench.store.claims_of("w1") == {}


async def test_an_old_fence_renews_nothing_not_even_for_the_same_worker(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await claimed(bench.store, job_id(1))
    await bench.advance(16)
    await claimed(bench.store, job_id(1))
    await bench.advance(10)
    assert await bench.store.renew("w1", {job_id(1): 1}) == []
    await bench.advance(6)
    await claimed(bench.store, job_id(1), "w2")


async def test_a_job_is_not_claimable_before_its_time_but_past_its_deadline(bench: StoreBench) -> None:
    await with_customer(bench.store)
    await bench.store.accept(new_job(1, run_for=100))
    claim = await claimed(bench.store, job_id(1))
    step = Step("preflight", 0, StepState.WAITING, attempts=1, last_error=ERROR)
    job = await bench.store.apply(
        transitions.retry_later(claim, step, attempt=1, pause=timedelta(seconds=300), status_message="Waiting.")
    )
    assert (job.state, job.attempt) == (JobState.PENDING, 1)
    assert await bench.store.claim(job_id(1), worker="w1") is None
    await bench.advance(101)
    again = await claimed(bench.store, job_id(1))
    assert (again.fence, again.job.lapses, again.job.steps[0].last_error) == (2, 0, ERROR)


async def test_a_customers_cap_makes_jobs_wait_and_the_end_of_one_makes_the_next_due(bench: StoreBench) -> None:
    await with_customer(bench.store, limits=Limits(running_jobs=1))
    for n in (1, 2, 3):
        await accepted_clone(bench.store, n)
    await bench.advance(3)
    assert len(await bench.store.due(per_customer=10, most=10, quiet=DUE_NOW)) == 3
    first = await claimed(bench.store, job_id(1))
    assert await bench.store.claim(job_id(2), worker="w2") is None
    assert await bench.store.claim(job_id(3), worker="w2") is None
    assert await bench.store.due(per_customer=10, most=10, quiet=DUE_NOW) == []
    await finished(bench.store, first, READY)
    await bench.advance(0.001)
    assert [ring.job_id for ring in await bench.store.due(per_customer=10, most=10, quiet=DUE_NOW)] == [job_id(2)]
    await claimed(bench.store, job_id(2))


async def test_no_cap_holds_back_deletions_undoing_and_the_reclaim_of_a_running_job(bench: StoreBench) -> None:
    await with_customer(bench.store, limits=Limits(running_jobs=1))
    await ready_clone(bench.store, 1)
    await accepted_clone(bench.store, 2)
    await accepted_clone(bench.store, 3)
    waiting = await claimed(bench.store, job_id(3))
    await bench.store.apply(
        transitions.retry_later(
            waiting, Step("a", 0, StepState.WAITING), attempt=1, pause=timedelta(seconds=60), status_message=""
        )
    )
    await claimed(bench.store, job_id(2))
    await bench.store.begin_delete(deletion())
    await claimed(bench.store, job_id(9, JobKind.DELETE))
    await bench.store.request_cancel(job_id(3))
    await claimed(bench.store, job_id(3))
    await bench.advance(16)
    await claimed(bench.store, job_id(2), "w2")
