"""Accepting: one job for a request, however often it comes, within the customer's limits; both stores alike."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import pytest

from tests.support.stores import (
    CUSTOMER,
    DUE_NOW,
    StoreBench,
    accepted_clone,
    at_once,
    clone_of,
    job_id,
    key,
    new_clone,
    new_job,
    with_customer,
)
from wpclone.core.jobs.errors import (
    CustomerNotFound,
    LimitReached,
    RequestIdReused,
)
from wpclone.core.jobs.job import Job, Limits
from wpclone.core.jobs.states import CloneState, JobState
from wpclone.core.store import Page


async def test_an_accepted_job_is_pending_at_revision_one_and_reads_back_the_same(bench: StoreBench) -> None:
    job = await accepted_clone(bench.store)
    assert (job.state, job.revision, job.fence, job.enqueue_seq) == (JobState.PENDING, 1, 0, 1)
    assert job.request == {"source_url": "http://source.test/ü"}
    assert job.secrets == b"cipher"
    assert job.deadline_at - job.created_at == timedelta(hours=1)
    assert abs((await bench.store.now()) - job.created_at) < timedelta(seconds=10)
    assert await bench.store.get_job(job.job_id) == job
    assert await bench.store.get_jobs([job.job_id, job_id(99)]) == {job.job_id: job}
    clone = await clone_of(bench.store)
    assert (clone.state, clone.ttl, clone.guard_key, clone.expires_at) == (
        CloneState.CREATING,
        timedelta(minutes=10),
        b"guard",
        None,
    )


async def test_a_job_of_nobody_is_refused_and_leaves_nothing(bench: StoreBench) -> None:
    with pytest.raises(CustomerNotFound):
        await bench.store.accept(new_job(), key=key(), clone=new_clone())
    assert await bench.store.get_job(job_id(1)) is None
    assert await bench.store.get_clone(job_id(1)) is None


async def test_the_same_request_gives_the_same_job_and_another_body_is_refused(bench: StoreBench) -> None:
    await with_customer(bench.store)
    first = await bench.store.accept(new_job(1), key=key(), clone=new_clone(1))
    assert await bench.store.accept(new_job(2), key=key(), clone=new_clone(2)) == first
    assert await bench.store.get_job(job_id(2)) is None
    assert await bench.store.get_clone(job_id(2)) is None
    with pytest.raises(RequestIdReused):
        await bench.store.accept(new_job(3), key=key(body=b"other"), clone=new_clone(3))
    assert (await bench.store.accept(new_job(4), key=key(method="Restore"))).job_id == job_id(4)


async def test_a_request_id_is_forgotten_after_seven_days(bench: StoreBench) -> None:
    await with_customer(bench.store)
    await bench.store.accept(new_job(1), key=key())
    await bench.advance(7 * 86400 + 60)
    assert (await bench.store.accept(new_job(2), key=key(body=b"other"))).job_id == job_id(2)


async def test_twenty_equal_requests_at_once_make_one_job(bench: StoreBench) -> None:
    await with_customer(bench.store)
    asked: list[Awaitable[Job]] = [bench.store.accept(new_job(n), key=key(), clone=new_clone(n)) for n in range(1, 21)]
    jobs = await at_once(bench.store, asked)
    assert len({job.job_id for job in jobs}) == 1
    assert len(await bench.store.list_jobs(customer_id=None, page=Page(100))) == 1
    assert len(await bench.store.list_clones(customer_id=None, page=Page(100))) == 1


async def test_live_clones_are_limited_also_when_asked_for_at_once(bench: StoreBench) -> None:
    await with_customer(bench.store, limits=Limits(live_clones=3))
    asked = [bench.store.accept(new_job(n), clone=new_clone(n)) for n in range(1, 9)]
    await asyncio.gather(*(bench.store.now() for _ in range(20)))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [a for a in answers if isinstance(a, LimitReached)]
    assert len(refused) == 5
    assert refused[0].retry_after > DUE_NOW
    assert len(await bench.store.list_clones(customer_id=CUSTOMER, page=Page(10))) == 3


async def test_requests_a_minute_are_limited_and_the_refusal_says_when_one_may_ask_again(bench: StoreBench) -> None:
    await with_customer(bench.store, limits=Limits(requests_per_minute=2))
    await bench.store.accept(new_job(1))
    await bench.advance(20)
    await bench.store.accept(new_job(2))
    with pytest.raises(LimitReached) as refusal:
        await bench.store.accept(new_job(3))
    assert timedelta(seconds=35) < refusal.value.retry_after <= timedelta(seconds=40)
    await bench.advance(41)
    await bench.store.accept(new_job(3))
