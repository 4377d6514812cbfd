"""The promises of `core.store` about restores: one writer per site, the source held, what was put aside."""

import asyncio
from datetime import timedelta

import pytest

from tests.support.stores import CUSTOMER, StoreBench, accepted_clone, claimed, job_id, new_job, with_customer
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import CloneInUse, CloneNotFound, CloneNotReady, NothingKept, RequestIdReused, SiteBusy
from wpclone.core.jobs.job import Job, JobError, NewJob, RequestKey
from wpclone.core.jobs.states import CloneState, JobKind, JobState, KeptState, Verdict
from wpclone.core.jobs.transitions import CloneChange, KeptSet
from wpclone.core.jobs.view import from_rfc3339
from wpclone.core.store import JobStore

SITE = "site.test"
HOUR = 3600.0


def restore(number: int = 7, *, of: int | None = None, customer_id: str = CUSTOMER) -> NewJob:
    return new_job(number, JobKind.RESTORE, clone_id=job_id(of) if of is not None else None, customer_id=customer_id)


async def ready_clone(store: JobStore, number: int = 1) -> None:
    await accepted_clone(store, number)
    ready = CloneChange(CloneState.READY, url="http://clone.test", starts_ttl=True)
    await store.apply(transitions.completed(await claimed(store, job_id(number)), result={}, status_message="", clone=ready))


async def done(store: JobStore, job: Job, *, keep_for: float | None = HOUR) -> Job:
    keeps = KeptSet(timedelta(seconds=keep_for)) if keep_for is not None else None
    return await store.apply(transitions.completed(await claimed(store, job.job_id), result={}, status_message="", clone=keeps))


async def failed(store: JobStore, job: Job) -> Job:
    claim = await claimed(store, job.job_id)
    error = JobError("The target does not answer.", "SOURCE_UNREACHABLE")
    await store.apply(transitions.condemned(claim, Verdict.FAIL, error, None, status_message=""))
    return await store.apply(transitions.failed(claim, clone=None, needs_attention=False, status_message=""))


async def test_one_job_at_a_time_writes_a_site(bench: StoreBench) -> None:
    await with_customer(bench.store)
    first = await bench.store.begin_restore(restore(7), site_key=SITE)
    assert (first.kind, first.state, first.revision) == (JobKind.RESTORE, JobState.PENDING, 1)
    with pytest.raises(SiteBusy):
        await bench.store.begin_restore(restore(8), site_key=SITE)
    assert await bench.store.get_job(restore(8).job_id) is None
    await bench.store.begin_restore(restore(9), site_key="other.test")
    await failed(bench.store, first)
    await bench.store.begin_restore(restore(8), site_key=SITE)


async def test_of_two_restores_of_a_site_at_once_one_is_accepted(bench: StoreBench) -> None:
    await with_customer(bench.store)
    calls = [bench.store.begin_restore(restore(10 + n), site_key=SITE) for n in range(5)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, Job) for end in ends) == 1
    assert sum(isinstance(end, SiteBusy) for end in ends) == 4


async def test_a_restore_cancelled_before_it_began_frees_its_site(bench: StoreBench) -> None:
    await with_customer(bench.store)
    first = await bench.store.begin_restore(restore(7), site_key=SITE)
    assert (await bench.store.request_cancel(first.job_id)).state is JobState.CANCELLED
    await bench.store.begin_restore(restore(8), site_key=SITE)


async def test_the_same_request_gives_the_same_restore(bench: StoreBench) -> None:
    await with_customer(bench.store)
    key = RequestKey(CUSTOMER, "CreateRestore", "r1", b"b".ljust(32))
    first = await bench.store.begin_restore(restore(7), site_key=SITE, key=key)
    assert await bench.store.begin_restore(restore(8), site_key=SITE, key=key) == first
    other = RequestKey(CUSTOMER, "CreateRestore", "r1", b"c".ljust(32))
    with pytest.raises(RequestIdReused):
        await bench.store.begin_restore(restore(8), site_key=SITE, key=other)


async def test_a_restore_needs_a_ready_clone_of_its_own_customer(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await with_customer(bench.store, "other")
    with pytest.raises(CloneNotReady):
        await bench.store.begin_restore(restore(of=1), site_key=SITE)
    await bench.store.apply(
        transitions.completed(
            await claimed(bench.store, job_id(1)),
            result={},
            status_message="",
            clone=CloneChange(CloneState.READY, starts_ttl=True),
        )
    )
    for wrong in (restore(of=2), restore(of=1, customer_id="other")):
        with pytest.raises(CloneNotFound):
            await bench.store.begin_restore(wrong, site_key=SITE)
    await bench.store.begin_restore(restore(of=1), site_key=SITE)


async def test_a_restore_holds_its_clone_from_expiry_and_deletion(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    job = await bench.store.begin_restore(restore(of=1), site_key=SITE)
    with pytest.raises(CloneInUse):
        await bench.store.begin_delete(new_job(3, JobKind.DELETE, clone_id=job_id(1)))
    await bench.advance(601)
    expire = lambda clone: new_job(4, JobKind.DELETE, clone_id=clone.clone_id)  # noqa: E731
    assert await bench.store.expire_due(expire, most=5) == []
    await failed(bench.store, job)
    assert [job.clone_id for job in await bench.store.expire_due(expire, most=5)] == [job_id(1)]


async def test_a_clone_that_is_copied_neither_expires_nor_is_deleted(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    copying = await bench.store.accept(new_job(2, reads_clone=job_id(1)))
    with pytest.raises(CloneInUse):
        await bench.store.begin_delete(new_job(3, JobKind.DELETE, clone_id=job_id(1)))
    await bench.advance(601)
    expire = lambda clone: new_job(4, JobKind.DELETE, clone_id=clone.clone_id)  # noqa: E731
    assert await bench.store.expire_due(expire, most=5) == []
    with pytest.raises(CloneNotReady):
        await bench.store.accept(new_job(5, reads_clone=job_id(1)))
    assert await bench.store.get_job(job_id(5)) is None
    await failed(bench.store, copying)
    assert [job.clone_id for job in await bench.store.expire_due(expire, most=5)] == [job_id(1)]


@pytest.mark.parametrize("kind", ["restore", "copy"])
async def test_a_deletion_and_a_job_that_reads_the_clone_are_never_both_begun(bench: StoreBench, kind: str) -> None:
    numbers = range(1, 7)
    for number in numbers:
        await ready_clone(bench.store, number)

    async def read(number: int) -> Job:
        if kind == "copy":
            return await bench.store.accept(new_job(10 + number, reads_clone=job_id(number)))
        return await bench.store.begin_restore(restore(10 + number, of=number), site_key=f"site{number}.test")

    for number in numbers:
        deletion = new_job(20 + number, JobKind.DELETE, clone_id=job_id(number))
        calls = [bench.store.begin_delete(deletion), read(number)]
        ends = await asyncio.gather(*(calls if number % 2 else reversed(calls)), return_exceptions=True)
        assert sum(isinstance(end, Job) for end in ends) == 1, ends
        assert sum(isinstance(end, CloneInUse | CloneNotReady) for end in ends) == 1, ends


async def test_another_customers_clone_is_not_held(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    await with_customer(bench.store, "other")
    with pytest.raises(CloneNotFound):
        await bench.store.accept(new_job(2, customer_id="other", reads_clone=job_id(1)))


async def test_an_expired_clone_is_not_restored_from(bench: StoreBench) -> None:
    await ready_clone(bench.store)
    await bench.advance(601)
    with pytest.raises(CloneNotReady):
        await bench.store.begin_restore(restore(of=1), site_key=SITE)


async def test_what_a_restore_put_aside_is_kept_until_its_time_is_over(bench: StoreBench) -> None:
    await with_customer(bench.store)
    job = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE))
    assert job.result is not None
    assert job.completed_at is not None
    assert from_rfc3339(job.result["rollback_until"]) - job.completed_at == pytest.approx(
        timedelta(hours=1), abs=timedelta(seconds=1)
    )
    assert await bench.store.kept_state(job.job_id) is KeptState.KEPT
    assert await bench.store.kept_due(most=5) == []
    await bench.advance(HOUR + 1)
    assert [due.job_id for due in await bench.store.kept_due(most=5)] == [job.job_id]


async def test_a_restore_that_kept_nothing_has_nothing_to_roll_back(bench: StoreBench) -> None:
    await with_customer(bench.store)
    dry = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE), keep_for=None)
    assert await bench.store.kept_state(dry.job_id) is None
    with pytest.raises(NothingKept):
        await bench.store.begin_leaving(restore(8), of=dry.job_id, becomes=KeptState.ROLLED_BACK, site_key=SITE)


@pytest.mark.parametrize("becomes", [KeptState.ROLLED_BACK, KeptState.RELEASED])
async def test_what_was_put_aside_leaves_once(bench: StoreBench, becomes: KeptState) -> None:
    await with_customer(bench.store)
    job = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE))
    leaving = await bench.store.begin_leaving(restore(8), of=job.job_id, becomes=becomes, site_key=SITE)
    assert await bench.store.kept_state(job.job_id) is KeptState.LEAVING
    with pytest.raises(NothingKept):
        await bench.store.begin_leaving(restore(9), of=job.job_id, becomes=KeptState.RELEASED, site_key="elsewhere.test")
    with pytest.raises(SiteBusy):
        await bench.store.begin_restore(restore(9), site_key=SITE)
    await done(bench.store, leaving, keep_for=None)
    assert await bench.store.kept_state(job.job_id) is becomes
    assert await bench.store.kept_due(most=5) == []
    with pytest.raises(NothingKept):
        await bench.store.begin_leaving(restore(9), of=job.job_id, becomes=KeptState.RELEASED, site_key=SITE)


@pytest.mark.parametrize("is_claimed", [True, False])
async def test_a_rollback_that_does_not_complete_leaves_it_kept_an_hour_at_least(bench: StoreBench, is_claimed: bool) -> None:
    await with_customer(bench.store)
    job = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE), keep_for=60)
    leaving = await bench.store.begin_leaving(restore(8), of=job.job_id, becomes=KeptState.ROLLED_BACK, site_key=SITE)
    await (failed(bench.store, leaving) if is_claimed else bench.store.request_cancel(leaving.job_id))
    assert await bench.store.kept_state(job.job_id) is KeptState.KEPT
    await bench.advance(3500)
    assert await bench.store.kept_due(most=5) == []
    await bench.advance(101)
    assert len(await bench.store.kept_due(most=5)) == 1


async def test_an_earlier_restore_of_a_site_is_rolled_back_after_the_later_one(bench: StoreBench) -> None:
    await with_customer(bench.store)
    first = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE))
    await bench.advance(1)
    second = await done(bench.store, await bench.store.begin_restore(restore(8), site_key=SITE))
    with pytest.raises(NothingKept, match="later restore"):
        await bench.store.begin_leaving(restore(9), of=first.job_id, becomes=KeptState.ROLLED_BACK, site_key=SITE)
    back = await bench.store.begin_leaving(restore(10), of=second.job_id, becomes=KeptState.ROLLED_BACK, site_key=SITE)
    await done(bench.store, back, keep_for=None)
    await bench.store.begin_leaving(restore(11), of=first.job_id, becomes=KeptState.ROLLED_BACK, site_key=SITE)


async def test_a_restore_is_not_pruned_while_something_is_kept(bench: StoreBench) -> None:
    await with_customer(bench.store)
    job = await done(bench.store, await bench.store.begin_restore(restore(7), site_key=SITE))
    await bench.advance(90 * 86400)
    assert await bench.store.prune(older_than=timedelta(days=30), most=10) == 0
    leaving = await bench.store.begin_leaving(restore(8), of=job.job_id, becomes=KeptState.RELEASED, site_key=SITE)
    await done(bench.store, leaving, keep_for=None)
    assert await bench.store.prune(older_than=timedelta(days=30), most=10) == 1
    assert await bench.store.kept_state(job.job_id) is None
