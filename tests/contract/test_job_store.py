"""The promises of `core.store`, kept by the in-memory store and by MySQL alike."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from tests.support.stores import (
    CUSTOMER,
    StoreBench,
    accepted_clone,
    claimed,
    job_id,
    new_clone,
    new_job,
    with_customer,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import (
    CloneNotFound,
    CloneNotReady,
    CustomerNotFound,
    JobFinished,
    JobNotFound,
    LimitReached,
    RequestIdReused,
    StaleClaim,
    WrongState,
)
from wpclone.core.jobs.job import Claim, Clone, Job, JobError, Limits, NewJob, RequestKey, Step
from wpclone.core.jobs.states import CloneState, JobKind, JobState, Priority, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.jobs.view import from_rfc3339
from wpclone.core.store import JobStore, Page, Share

T = TypeVar("T")
READY = CloneChange(CloneState.READY, {"port": 1}, url="http://clone.test", admin_login="editor", starts_ttl=True)
ERROR = JobError("The source does not answer.", "SOURCE_UNREACHABLE", "preflight", {"host": "source.test"})
DUE_NOW = timedelta(0)


def key(name: str = "r1", body: bytes = b"b", method: str = "CreateClone") -> RequestKey:
    return RequestKey(CUSTOMER, method, name, body.ljust(32, b"\x00"))


async def ready_clone(store: JobStore, number: int = 1, *, ttl: float = 600) -> Job:
    await accepted_clone(store, number, ttl=ttl)
    claim = await claimed(store, job_id(number))
    return await store.apply(transitions.completed(claim, result={"rows": 3}, status_message="Done.", clone=READY))


async def finished(store: JobStore, claim: Claim, clone: CloneChange | None = None) -> Job:
    return await store.apply(transitions.completed(claim, result={}, status_message="Done.", clone=clone))


async def at_once(store: JobStore, calls: list[Awaitable[T]]) -> list[T]:
    """The answers of calls that start together, on connections that are there already."""
    await asyncio.gather(*(store.now() for _ in range(20)))
    return await asyncio.gather(*calls)


async def clone_of(store: JobStore, number: int = 1) -> Clone:
    clone = await store.get_clone(job_id(number))
    assert clone is not None
    return clone


def deletion(number: int = 9, of: int = 1, customer_id: str = CUSTOMER) -> NewJob:
    return new_job(number, JobKind.DELETE, clone_id=job_id(of), customer_id=customer_id)


# --- accept


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


# --- claim, renew


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


# --- apply


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


# --- cancel


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


# --- delete, expire, extend


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


# --- due


async def test_a_new_job_is_rung_by_the_relay_after_two_seconds_and_again_after_thirty(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.advance(2.1)
    (ring,) = await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)
    assert (ring.job_id, ring.enqueue_seq, ring.priority, ring.traceparent) == (job_id(1), 2, Priority.NORMAL, "00-trace-span-01")
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.store.unring([job_id(1)])
    await bench.advance(0.001)
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1
    await bench.advance(30.1)
    (third,) = await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)
    assert third.enqueue_seq == 4
    assert await bench.store.ring_all_again() == 1
    await bench.advance(0.001)
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1


async def test_a_running_job_is_rung_only_when_its_lease_is_over_for_long_enough(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await claimed(bench.store, job_id(1))
    await bench.advance(10)
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.advance(6)
    assert await bench.store.due(per_customer=5, most=5, quiet=timedelta(seconds=5)) == []
    assert await bench.store.due(per_customer=5, most=5, quiet=timedelta.max) == []
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1


async def test_customers_are_rung_in_turns_and_urgent_jobs_first(bench: StoreBench) -> None:
    await with_customer(bench.store, "a")
    await with_customer(bench.store, "b")
    for n in range(1, 9):
        await bench.store.accept(new_job(n, customer_id="a"))
    await bench.store.accept(new_job(20, customer_id="a", priority=Priority.HIGH))
    await bench.store.accept(new_job(30, customer_id="b"))
    await bench.store.accept(new_job(31, customer_id="b"))
    await bench.advance(3)
    rings = await bench.store.due(per_customer=3, most=4, quiet=DUE_NOW)
    assert [ring.job_id for ring in rings] == [job_id(20), job_id(30), job_id(1), job_id(31)]
    assert [r.job_id for r in await bench.store.due(per_customer=3, most=9, quiet=DUE_NOW)] == [job_id(2), job_id(3), job_id(4)]


async def test_who_waits_and_who_runs_is_told_by_customer_and_priority(bench: StoreBench) -> None:
    assert await bench.store.shares() == []
    await with_customer(bench.store, "a")
    await with_customer(bench.store, "b", Limits(running_jobs=1))
    for n in range(1, 4):
        await bench.store.accept(new_job(n, customer_id="a"))
    for n in (11, 12):
        await bench.store.accept(new_job(n, customer_id="b", priority=Priority.HIGH))
    await claimed(bench.store, job_id(1))
    await claimed(bench.store, job_id(11))
    assert await bench.store.claim(job_id(12), worker="w1") is None
    shares = sorted(await bench.store.shares(), key=lambda share: share.customer_id)
    assert shares == [Share("a", Priority.NORMAL, 2, 1), Share("b", Priority.HIGH, 0, 1)]


async def test_a_customers_next_job_is_the_one_that_waits_longest(bench: StoreBench) -> None:
    for n in (3, 2):
        await accepted_clone(bench.store, n)
        await bench.advance(1)
    await bench.store.accept(new_job(1, priority=Priority.HIGH))
    claim = await claimed(bench.store, job_id(2))
    step = Step("one", 0, StepState.WAITING, attempts=1)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[]) == job_id(3)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) is None
    await bench.store.apply(transitions.retry_later(claim, step, attempt=1, pause=timedelta(seconds=60), status_message=""))
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) is None
    await bench.advance(61)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) == job_id(2)
    assert await bench.store.next_waiting(CUSTOMER, Priority.HIGH, but=[job_id(3)]) == job_id(1)
    assert await bench.store.next_waiting("other", Priority.NORMAL, but=[]) is None


async def test_two_relays_never_ring_the_same_job(bench: StoreBench) -> None:
    for n in range(1, 21):
        await accepted_clone(bench.store, n)
    await bench.advance(3)
    rings = await at_once(bench.store, [bench.store.due(per_customer=99, most=99, quiet=DUE_NOW) for _ in range(4)])
    rung = [ring.job_id for some in rings for ring in some]
    assert sorted(rung) == [job_id(n) for n in range(1, 21)]


async def test_the_queue_is_as_deep_as_what_could_run_now(bench: StoreBench) -> None:
    depth = await bench.store.queue_depth()
    assert (depth.runnable, depth.running, depth.oldest_seconds) == (0, 0, 0.0)
    await accepted_clone(bench.store, 1)
    await accepted_clone(bench.store, 2)
    await claimed(bench.store, job_id(1))
    await bench.advance(7)
    depth = await bench.store.queue_depth()
    assert (depth.runnable, depth.running) == (1, 1)
    assert 6.9 < depth.oldest_seconds < 30


# --- lists, measures, trimming, customers


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


async def test_the_usual_length_of_a_step_is_the_median_of_past_ones(bench: StoreBench) -> None:
    for n, seconds in ((1, 2), (2, 4), (3, 60)):
        await accepted_clone(bench.store, n)
        claim = await claimed(bench.store, job_id(n))
        await bench.store.apply(transitions.step_started(claim, Step("copy", 0, StepState.RUNNING), status_message=""))
        await bench.advance(seconds)
        claim = claim if seconds < 15 else await claimed(bench.store, job_id(n))
        await bench.store.apply(transitions.step_done(claim, Step("copy", 0, StepState.DONE), progress=50))
        await finished(bench.store, claim, READY)
    measured = await bench.store.step_seconds(JobKind.CLONE)
    assert list(measured) == ["copy"]
    assert 3.9 < measured["copy"] < 5
    assert await bench.store.step_seconds(JobKind.DELETE) == {}


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
