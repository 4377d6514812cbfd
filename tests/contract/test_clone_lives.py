"""The life of a clone: deleted once, extended, expired; both stores alike."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import (
    CUSTOMER,
    ERROR,
    StoreBench,
    accepted_clone,
    at_once,
    claimed,
    clone_of,
    deletion,
    finished,
    job_id,
    key,
    new_clone,
    new_job,
    ready_clone,
    with_customer,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import (
    CloneNotFound,
    CloneNotReady,
)
from wpclone.core.jobs.job import Clone, NewJob
from wpclone.core.jobs.states import CloneState, JobKind, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.store import Page


async def test_deleting_a_ready_clone_makes_one_job_however_often_it_is_asked_for(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    jobs = await at_once(bench.store, [bench.store.begin_delete(deletion(n)) for n in range(10, 20)])
    assert len({job.job_id for job in jobs}) == 1
    assert (jobs[0].kind, jobs[0].clone_id) == (JobKind.DELETE, job_id(1))
    assert (await clone_of(bench.store)).state is CloneState.DELETING
    claim = await claimed(bench.store, jobs[0].job_id)
    await finished(bench.store, claim, CloneChange(CloneState.DELETED))
    with pytest.raises(CloneNotFound):
        await bench.store.begin_delete(deletion(30))
    assert await bench.store.list_clones(customer_id=CUSTOMER, page=Page(5)) == []
    assert len(await bench.store.list_clones(customer_id=CUSTOMER, page=Page(5), state=CloneState.DELETED)) == 1


async def test_deleting_a_clone_that_is_being_made_cancels_its_job(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await claimed(bench.store, job_id(1))
    job = await bench.store.begin_delete(deletion(), key=key(method="DeleteClone"))
    assert job.job_id == job_id(1)
    assert job.cancel_requested_at is not None
    assert (await bench.store.begin_delete(deletion(8), key=key(method="DeleteClone"))).job_id == job_id(1)
    assert await bench.store.get_job(job_id(9, JobKind.DELETE)) is None


async def test_a_failed_deletion_may_be_asked_for_again(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    job = await bench.store.begin_delete(deletion(8))
    claim = await claimed(bench.store, job.job_id)
    await bench.store.apply(transitions.condemned(claim, Verdict.FAIL, ERROR, None, status_message=""))
    await bench.store.apply(transitions.failed(claim, clone=None, needs_attention=True, status_message=""))
    again = await bench.store.begin_delete(replace(deletion(9), retry_of=job.job_id))
    assert (again.job_id, again.retry_of) == (job_id(9, JobKind.DELETE), job.job_id)
    retry = await bench.store.accept(replace(new_job(2), retry_of=job_id(1)), clone=new_clone(2))
    assert (await bench.store.get_jobs([again.job_id, retry.job_id])) == {again.job_id: again, retry.job_id: retry}


async def test_another_customers_clone_is_not_there_to_delete(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    await with_customer(bench.store, "other")
    with pytest.raises(CloneNotFound):
        await bench.store.begin_delete(deletion(customer_id="other"))
    with pytest.raises(CloneNotFound):
        await bench.store.begin_delete(deletion(of=5))


async def test_an_expired_clone_is_deleted_exactly_once_and_not_under_a_restore(bench: StoreBench) -> None:
    await ready_clone(bench.store, 1, ttl=60)
    await ready_clone(bench.store, 2, ttl=60)
    await ready_clone(bench.store, 3, ttl=600)
    await bench.store.accept(new_job(7, JobKind.RESTORE, clone_id=job_id(2)))

    def make(clone: Clone) -> NewJob:
        return deletion(100 + int(clone.clone_id[-1]), of=int(clone.clone_id[-1]))

    assert await bench.store.expire_due(make, most=10) == []
    await bench.advance(61)
    both = await at_once(bench.store, [bench.store.expire_due(make, most=10) for _ in range(3)])
    assert [job.clone_id for jobs in both for job in jobs] == [job_id(1)]
    await bench.store.request_cancel(job_id(7, JobKind.RESTORE))
    assert [job.clone_id for job in await bench.store.expire_due(make, most=10)] == [job_id(2)]


async def test_what_expired_in_a_long_outage_is_deleted_once_each_by_however_many_workers(bench: StoreBench) -> None:
    clones = [job_id(n) for n in range(1, 13)]
    for n in range(1, 13):
        await ready_clone(bench.store, n, ttl=60 * n)
    await bench.advance(10 * 24 * 3600)
    numbers = iter(range(100, 1000))

    def make(clone: Clone) -> NewJob:
        return deletion(next(numbers), of=int(clone.clone_id.removeprefix("clone-"), 16))

    begun: list[str] = []
    while some := await at_once(bench.store, [bench.store.expire_due(make, most=5) for _ in range(3)]):
        if not any(some):
            break
        begun += [str(job.clone_id) for jobs in some for job in jobs]
    assert sorted(begun) == clones
    assert {(await clone_of(bench.store, n)).state for n in range(1, 13)} == {CloneState.DELETING}


async def test_a_life_is_extended_while_it_lasts_and_never_shortened(bench: StoreBench) -> None:
    await ready_clone(bench.store, ttl=60)
    before = (await clone_of(bench.store)).expires_at
    assert before is not None
    later = before + timedelta(hours=1)
    extended = await bench.store.extend_clone(job_id(1), later, key=key(method="ExtendClone"))
    assert extended.expires_at == later
    assert (await bench.store.extend_clone(job_id(1), before)).expires_at == later
    again = await bench.store.extend_clone(job_id(1), later + timedelta(hours=9), key=key(method="ExtendClone"))
    assert again.expires_at == later
    with pytest.raises(CloneNotFound):
        await bench.store.extend_clone(job_id(2), later)
    await bench.advance(2 * 3600)
    with pytest.raises(CloneNotReady):
        await bench.store.extend_clone(job_id(1), later + timedelta(days=1))


async def test_expiries_the_runtime_does_not_know_are_told(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    (clone,) = await bench.store.unsynced_expiries(most=5)
    assert clone.expires_at is not None
    await bench.store.expiry_synced(clone.clone_id, clone.expires_at)
    assert await bench.store.unsynced_expiries(most=5) == []
    await bench.store.extend_clone(clone.clone_id, clone.expires_at + timedelta(minutes=1))
    assert len(await bench.store.unsynced_expiries(most=5)) == 1
