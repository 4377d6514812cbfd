"""RetryJob: which jobs may be asked for again, what of the old one the new one has, and what not."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest

from server.site_access import LONGEST_NAME, LONGEST_SECRET
from tests.support.serving import CUSTOMER, OPERATOR, PASSWORD, Edge, reason, serving
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import JobError, Limits
from wpclone.core.jobs.states import CloneState, Priority, Verdict
from wpclone.core.jobs.transitions import CloneChange, KeptSet
from wpclone.core.secrets import KeyRing
from wpclone.v2 import clone_service_pb2, job_pb2, site_pb2

FAILED = JobError("It did not work.", "SOURCE_UNREACHABLE", "preflight")


async def fail(edge: Edge, job_id: str) -> None:
    """What a worker does at the end of a job that fails."""
    claim = await edge.claim(job_id)
    await edge.apply(transitions.condemned(claim, Verdict.FAIL, FAILED, None, status_message="Undoing"))
    change = CloneChange(CloneState.FAILED)
    await edge.apply(transitions.failed(claim, clone=change, needs_attention=False, status_message="Failed"))


async def complete(edge: Edge, job_id: str, state: CloneState = CloneState.READY) -> None:
    claim = await edge.claim(job_id)
    change = CloneChange(state, url="http://c.localhost", admin_login="admin", starts_ttl=state is CloneState.READY)
    await edge.apply(transitions.completed(claim, result={}, status_message="Done", clone=change))


async def retry(edge: Edge, job_id: str, *, as_: str = CUSTOMER, request_id: str = "") -> job_pb2.Job:
    request = clone_service_pb2.RetryJobRequest(job_id=job_id, request_id=request_id)
    job: job_pb2.Job = await edge.stub.RetryJob(request, metadata=edge.as_(as_))
    return job


async def refused(edge: Edge, job_id: str, **how: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await retry(edge, job_id, **how)
    return caught.value.code(), reason(caught.value)


async def delete(edge: Edge, clone_id: str) -> str:
    request = clone_service_pb2.DeleteCloneRequest(clone_id=clone_id)
    return str((await edge.stub.DeleteClone(request, metadata=edge.as_(CUSTOMER))).job_id)


async def test_a_failed_clone_job_becomes_a_new_job_with_a_clone_of_its_own() -> None:
    async with serving() as edge:
        old = (await edge.create(ttl_minutes=30, keep_constants=["WP_CACHE_KEY_SALT"])).job_id
        await fail(edge, old)
        new = await retry(edge, old)
        assert (new.retry_of, new.status, new.type, new.customer_id) == (old, "pending", "clone", CUSTOMER)
        assert new.clone_id == new.job_id != old
        before, after = await edge.store.get_job(old), await edge.store.get_job(new.job_id)
        assert before is not None
        assert after is not None
        assert before.state.value == "failed"
        assert (after.request, after.definition_version) == (before.request, before.definition_version)
        assert after.deadline_at - after.created_at == before.deadline_at - before.created_at
        clones = [await edge.store.get_clone(clone_id) for clone_id in (old, new.job_id)]
        assert [clone.state.value for clone in clones if clone] == ["failed", "creating"]
        assert [(clone.source_url, clone.ttl) for clone in clones[:1] if clone] == [
            (clone.source_url, clone.ttl) for clone in clones[1:] if clone
        ]


async def test_the_new_job_has_the_sources_credentials_and_secrets_of_its_own() -> None:
    async with serving() as edge:
        old = (await edge.create()).job_id
        await fail(edge, old)
        new = (await retry(edge, old)).job_id
        secrets = [await _secrets(edge.keys, edge, job_id) for job_id in (old, new)]
        assert secrets[0]["source"] == secrets[1]["source"] == {"username": "admin", "password": PASSWORD}
        assert secrets[0]["seed"] != secrets[1]["seed"]
        assert len(bytes.fromhex(secrets[1]["seed"])) == 32
        guards = [await edge.store.get_clone(clone_id) for clone_id in (old, new)]
        keys = [edge.keys.decrypt(clone.guard_key or b"", clone.clone_id) for clone in guards if clone]
        assert len(set(keys)) == 2


async def _secrets(keys: KeyRing, edge: Edge, job_id: str) -> Any:
    job = await edge.store.get_job(job_id)
    assert job is not None
    assert job.secrets is not None
    return json.loads(keys.decrypt(job.secrets, job_id))


async def test_the_new_job_is_rung() -> None:
    async with serving() as edge:
        old = (await edge.create()).job_id
        await fail(edge, old)
        assert await edge.bus.take(Priority.NORMAL, wait=5) is not None
        new = await retry(edge, old)
        delivery = await edge.bus.take(Priority.NORMAL, wait=5)
        assert delivery is not None
        assert delivery.ring is not None
        assert delivery.ring.job_id == new.job_id


async def test_a_cancelled_job_may_be_asked_for_again_and_a_retry_too() -> None:
    async with serving() as edge:
        first = (await edge.create()).job_id
        await edge.store.request_cancel(first)
        second = (await retry(edge, first)).job_id
        await fail(edge, second)
        assert (await retry(edge, second)).retry_of == second


async def test_a_job_that_goes_on_or_completed_is_not_done_again() -> None:
    async with serving() as edge:
        pending, running, completed = [(await edge.create()).job_id for _ in range(3)]
        await edge.claim(running)
        await complete(edge, completed)
        for job_id in (pending, running, completed):
            assert await refused(edge, job_id) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE")
        assert len(await _jobs(edge)) == 3


async def test_the_same_request_id_makes_one_new_job_and_names_one_old_one() -> None:
    async with serving() as edge:
        first, second = [(await edge.create()).job_id for _ in range(2)]
        for job_id in (first, second):
            await fail(edge, job_id)
        new = await retry(edge, first, request_id="r")
        assert (await retry(edge, first, request_id="r")).job_id == new.job_id
        assert await refused(edge, second, request_id="r") == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        assert len(await _jobs(edge)) == 3


async def test_a_retry_counts_against_the_customers_limits() -> None:
    async with serving() as edge:
        old = (await edge.create()).job_id
        await fail(edge, old)
        await edge.store.set_limits(CUSTOMER, Limits(live_clones=0))
        assert await refused(edge, old) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")


async def test_an_administrator_retries_for_the_jobs_owner() -> None:
    async with serving() as edge:
        old = (await edge.create()).job_id
        await fail(edge, old)
        assert (await retry(edge, old, as_=OPERATOR)).customer_id == CUSTOMER


async def test_a_job_of_high_priority_is_done_again_for_administrators_only() -> None:
    async with serving() as edge:
        old = (await edge.create(OPERATOR, customer_id=CUSTOMER, priority="high")).job_id
        await fail(edge, old)
        assert await refused(edge, old) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert (await retry(edge, old, as_=OPERATOR)).priority == "high"


async def test_a_failed_deletion_is_done_again_until_the_clone_has_gone() -> None:
    async with serving() as edge:
        clone_id = (await edge.create()).job_id
        await complete(edge, clone_id)
        old = await delete(edge, clone_id)
        await fail(edge, old)
        new = await retry(edge, old)
        assert (new.type, new.retry_of, new.clone_id) == ("delete", old, clone_id)
        clone = await edge.store.get_clone(clone_id)
        assert clone is not None
        assert clone.state is CloneState.DELETING
        assert (await retry(edge, old)).job_id == new.job_id
        await complete(edge, new.job_id, CloneState.DELETED)
        assert await refused(edge, old) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE")


async def restore(edge: Edge, clone_id: str) -> str:
    login = site_pb2.AdminLogin(url="https://shop.example", username="admin", password="of the target")
    request = clone_service_pb2.CreateRestoreRequest(clone_id=clone_id, target=site_pb2.SourceSite(admin_login=login))
    return str((await edge.stub.CreateRestore(request, metadata=edge.as_(CUSTOMER))).job_id)


async def test_a_failed_restore_is_done_again_by_a_restore_that_writes_the_site_alone() -> None:
    async with serving() as edge:
        clone_id = (await edge.create()).job_id
        await complete(edge, clone_id)
        old = await restore(edge, clone_id)
        claim = await edge.claim(old)
        await edge.apply(transitions.condemned(claim, Verdict.FAIL, FAILED, None, status_message="Undoing"))
        await edge.apply(transitions.failed(claim, clone=None, needs_attention=False, status_message="Failed"))
        new = await retry(edge, old)
        assert (new.type, new.retry_of, new.clone_id) == ("restore", old, clone_id)
        before, after = [await _secrets(edge.keys, edge, job_id) for job_id in (old, new.job_id)]
        assert before["target"] == after["target"] == {"username": "admin", "password": "of the target"}
        assert before["seed"] != after["seed"]
        assert await refused(edge, old) == (grpc.StatusCode.FAILED_PRECONDITION, "SITE_BUSY")


async def test_the_longest_credentials_of_two_sites_fit_into_the_store() -> None:
    longest = site_pb2.AdminLogin(username="\U0001f600" * LONGEST_NAME, password="\U0001f600" * LONGEST_SECRET)
    request = clone_service_pb2.CreateRestoreRequest()
    for site, host in ((request.source, "a.example"), (request.target, "b.example")):
        site.admin_login.CopyFrom(longest)
        site.admin_login.url = f"https://u:{'p' * 2000}@{host}"
    async with serving() as edge:
        job_id = (await edge.stub.CreateRestore(request, metadata=edge.as_(CUSTOMER))).job_id
        await fail(edge, job_id)
        for known in (job_id, (await retry(edge, job_id)).job_id):
            kept = await edge.store.get_job(known)
            assert kept is not None
            assert len(kept.secrets or b"") <= 32768  # jobs.secrets
            assert (await _secrets(edge.keys, edge, known))["target"]["password"] == longest.password


async def test_a_rollback_is_asked_for_anew_and_not_retried() -> None:
    async with serving() as edge:
        clone_id = (await edge.create()).job_id
        await complete(edge, clone_id)
        restored = await restore(edge, clone_id)
        kept = KeptSet(timedelta(hours=72))
        await edge.apply(transitions.completed(await edge.claim(restored), result={}, status_message="Done", clone=kept))
        request = clone_service_pb2.RollbackRestoreRequest(job_id=restored)
        rollback = (await edge.stub.RollbackRestore(request, metadata=edge.as_(CUSTOMER))).job_id
        await edge.store.request_cancel(rollback)
        assert await refused(edge, rollback) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE")


async def test_a_job_whose_credentials_cannot_be_read_any_more_is_not_done_again() -> None:
    async with serving() as edge:
        old = (await edge.create()).job_id
        await fail(edge, old)
        kept = edge.store._shelves.jobs[old]
        kept.job = replace(kept.job, secrets=b"of another key ring")
        assert await refused(edge, old) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_RETRYABLE")


async def _jobs(edge: Edge) -> list[str]:
    page = await edge.stub.ListJobs(clone_service_pb2.ListJobsRequest(), metadata=edge.as_(CUSTOMER))
    return [job.job_id for job in page.jobs]
