"""The service over real gRPC, in process, on a memory store: what each method promises, and how each refusal looks."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from server.app import SERVICE, Rhythm
from tests.support.serving import (
    CUSTOMER,
    OPERATOR,
    OTHER,
    PASSWORD,
    Edge,
    clone_request,
    details,
    fail,
    make_ready,
    reason,
    refused,
    serving,
)
from tests.support.wait import until_async
from wpclone.core.bus import subjects
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Limits, Step
from wpclone.core.jobs.states import Priority, StepState
from wpclone.core.secrets import password
from wpclone.v2 import clone_pb2, clone_service_pb2, job_pb2

UNKNOWN = "clone-0123456789ab"


async def test_a_clone_is_accepted_at_once_rung_and_told() -> None:
    async with serving() as edge:
        told = edge.bus.listen(subjects.EVENTS)
        call = edge.stub.CreateClone(clone_request(ttl_minutes=30), metadata=edge.as_(CUSTOMER))
        job = await call
        headers = dict(await call.initial_metadata())
        assert (job.type, job.status, job.kind, job.state) == (
            "clone",
            "pending",
            job_pb2.JOB_KIND_CLONE,
            job_pb2.JOB_STATE_PENDING,
        )
        assert (job.revision, job.progress, job.customer_id, job.clone_id) == (1, 0, CUSTOMER, job.job_id)
        assert job.status_url == f"/api/v2/jobs/{job.job_id}"
        assert (headers["x-http-code"], headers["location"]) == ("202", job.status_url)
        delivery = await edge.bus.take(Priority.NORMAL, wait=5)
        assert delivery is not None
        assert delivery.ring is not None
        assert (delivery.ring.job_id, delivery.ring.enqueue_seq) == (job.job_id, 1)
        async with asyncio.timeout(5):
            subject, payload = await anext(told)
        assert (subject, payload["revision"]) == (subjects.event(job.job_id), 1)
        assert PASSWORD not in json.dumps(payload)


async def test_what_the_worker_needs_is_recorded_encrypted() -> None:
    async with serving() as edge:
        job_id = (
            await edge.create(keep_constants=["WP_CACHE_KEY_SALT"], exclude_paths=["*.zip"], exclude_tables=["logs"])
        ).job_id
        job, clone = await edge.store.get_job(job_id), await edge.store.get_clone(job_id)
        assert job is not None
        assert clone is not None
        assert job.request == {
            "source_url": "https://example.com/blog", "source_kind": "admin_login", "ttl_minutes": 60,
            "keep_constants": ["WP_CACHE_KEY_SALT"], "exclude_paths": ["*.zip"], "exclude_tables": ["logs"],
        }  # fmt: skip
        assert job.secrets is not None
        assert PASSWORD.encode() not in job.secrets
        secrets = json.loads(edge.keys.decrypt(job.secrets, job_id))
        assert secrets["source"] == {"username": "admin", "password": PASSWORD}
        assert len(bytes.fromhex(secrets["seed"])) == 32
        assert clone.guard_key is not None
        assert len(edge.keys.decrypt(clone.guard_key, job_id)) == 32
        assert (clone.runtime, clone.ttl) == ("local", timedelta(minutes=60))


async def test_create_answers_while_nats_is_away() -> None:
    async with serving() as edge:
        edge.bus.cut()
        assert (await edge.create()).status == "pending"


async def test_the_same_request_id_gives_the_same_job_and_another_body_is_refused() -> None:
    async with serving() as edge:
        first = await edge.create(request_id="r-1")
        assert (await edge.create(request_id="r-1")).job_id == first.job_id
        flat = clone_service_pb2.CreateCloneRequest(
            request_id="r-1", source_url="https://example.com/blog", source_username="admin", source_password=PASSWORD
        )
        assert (await edge.stub.CreateClone(flat, metadata=edge.as_(CUSTOMER))).job_id == first.job_id
        error = await refused(edge.stub.CreateClone(clone_request(request_id="r-1", ttl_minutes=61), metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        assert (await edge.create(OTHER, request_id="r-1")).job_id != first.job_id


async def test_bad_fields_are_refused_all_together() -> None:
    async with serving() as edge:
        request = clone_service_pb2.CreateCloneRequest(source_url="nonsense", ttl_minutes=1)
        error = await refused(edge.stub.CreateClone(request, metadata=(*edge.as_(CUSTOMER), ("x-request-id", "abc"))))
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        found = {type(detail).__name__: detail for detail in details(error)}
        fields = {violation.field for violation in found["BadRequest"].field_violations}
        assert fields == {"source_url", "source_username", "source_password", "ttl_minutes"}
        assert found["RequestInfo"].request_id == "abc"


async def test_bytes_that_are_no_message_are_refused_without_a_trace() -> None:
    async with serving() as edge:
        raw: Any = edge.channel.unary_unary(f"/{SERVICE}/GetJob")
        error = await refused(raw(b"\xff\xff\xff", metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        stream: Any = edge.channel.unary_stream(f"/{SERVICE}/WatchJob")
        assert (await refused(stream(b"\xff\xff\xff", metadata=edge.as_(CUSTOMER)))).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_fault_of_ours_leaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError("password=hunter2")

    async with serving() as edge:
        monkeypatch.setattr(edge.store, "get_job", broken)
        for call in (edge.stub.GetJob, edge.stub.WatchJob):
            request = clone_service_pb2.GetJobRequest if call is edge.stub.GetJob else clone_service_pb2.WatchJobRequest
            error = await refused(call(request(job_id=UNKNOWN), metadata=edge.as_(CUSTOMER)))
            assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
            assert "hunter2" not in str(error.details()) + str(details(error))


async def test_a_cancellation_from_inside_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    async with serving() as edge:
        monkeypatch.setattr(edge.store, "get_job", cancelled)
        error = await refused(edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=UNKNOWN), metadata=edge.as_(CUSTOMER)))
        assert error.code() is grpc.StatusCode.INTERNAL


async def test_an_outage_of_the_store_asks_to_try_again() -> None:
    async with serving() as edge:
        await edge.create()
        edge.store.fail_with(StoreUnavailable())
        error = await refused(edge.stub.CreateClone(clone_request(), metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert any(isinstance(detail, error_details_pb2.RetryInfo) for detail in details(error))


async def test_limits_are_told_with_a_time_to_try_again() -> None:
    async with serving() as edge:
        await edge.store.set_limits(CUSTOMER, Limits(live_clones=1))
        await edge.create()
        error = await refused(edge.stub.CreateClone(clone_request(), metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        (told,) = [detail for detail in details(error) if isinstance(detail, error_details_pb2.RetryInfo)]
        assert dict(error.trailing_metadata())["retry-after"] == str(told.retry_delay.seconds)
        assert "retry-after" not in dict(error.initial_metadata())


async def test_a_job_shows_its_steps_error_and_result() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        failed = await fail(edge, await edge.claim(job_id))
        job = await edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        assert (job.status, job.error, job.revision) == ("failed", "The source does not answer.", failed.revision)
        assert (job.error_detail.reason, job.error_detail.domain, job.error_detail.step) == (
            "SOURCE_UNREACHABLE", "wpclone.dev", "preflight",
        )  # fmt: skip
        assert dict(job.error_detail.metadata) == {"host": "example.com"}
        assert [(step.name, step.status, step.state) for step in job.steps] == [
            ("preflight", "failed", job_pb2.STEP_STATE_FAILED)
        ]
        assert job.HasField("completed_at")
        assert not job.HasField("result")
        listed = await edge.stub.ListJobs(clone_service_pb2.ListJobsRequest(status="failed"), metadata=edge.as_(CUSTOMER))
        assert [one.job_id for one in listed.jobs] == [job_id]


async def test_the_owner_alone_sees_the_password_and_only_where_it_belongs() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        job = await make_ready(edge, job_id)
        assert job.secrets is not None
        expected = password(bytes.fromhex(json.loads(edge.keys.decrypt(job.secrets, job_id))["seed"]), "admin")
        got = await edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        waited = await edge.stub.WaitJob(clone_service_pb2.WaitJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
        assert got.result.password == waited.result.password == expected
        assert (got.result.rows, got.result.files, got.result.bytes, got.result.copy_seconds) == (12, 34, 5_000_000_000, 1.5)
        assert got.result.report["left_out_tables"][0] == "wp_x"
        assert got.result.HasField("expires_at")
        others = [
            (await edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=job_id), metadata=edge.as_(OPERATOR))),
            (await edge.stub.ListJobs(clone_service_pb2.ListJobsRequest(), metadata=edge.as_(CUSTOMER))).jobs[0],
            (await edge.stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER)).read()).job,
        ]
        assert [one.result.HasField("password") for one in others] == [False, False, False]


async def test_lists_go_on_page_by_page() -> None:
    async with serving() as edge:
        made = [(await edge.create()).job_id for _ in range(5)]
        await edge.create(OTHER)
        for call, request, rows in (
            (edge.stub.ListJobs, clone_service_pb2.ListJobsRequest, "jobs"),
            (edge.stub.ListClones, clone_service_pb2.ListClonesRequest, "clones"),
        ):
            seen: list[str] = []
            token = ""
            while True:
                page = await call(request(page_size=2, page_token=token), metadata=edge.as_(CUSTOMER))
                seen += [getattr(row, "job_id", "") or getattr(row, "clone_id", "") for row in getattr(page, rows)]
                token = page.next_page_token
                if not token:
                    break
            assert sorted(seen) == sorted(made)
            assert len(seen) == 5


async def test_a_clone_is_shown_extended_and_signed_in_to() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        sign_in = clone_service_pb2.CreateSignInLinkRequest(clone_id=job_id)
        early = await refused(edge.stub.CreateSignInLink(sign_in, metadata=edge.as_(CUSTOMER)))
        assert (early.code(), reason(early)) == (grpc.StatusCode.FAILED_PRECONDITION, "CLONE_NOT_READY")
        await make_ready(edge, job_id)
        clone = await edge.stub.GetClone(clone_service_pb2.GetCloneRequest(clone_id=job_id), metadata=edge.as_(CUSTOMER))
        assert (clone.status, clone.state, clone.clone_url, clone.username, clone.ttl_minutes) == (
            "ready", clone_pb2.CLONE_STATE_READY, "http://clone.localhost:8000", "admin", 60,
        )  # fmt: skip
        later = Timestamp()
        later.FromDatetime(datetime.now(UTC) + timedelta(hours=5))
        request = clone_service_pb2.ExtendCloneRequest(clone_id=job_id, expires_at=later)
        extended = await edge.stub.ExtendClone(request, metadata=edge.as_(CUSTOMER))
        assert extended.expires_at.ToDatetime() == later.ToDatetime()
        links = [await edge.stub.CreateSignInLink(sign_in, metadata=edge.as_(CUSTOMER)) for _ in range(2)]
        assert links[0].url.startswith("http://clone.localhost:8000/?wpclone-sign-in=")
        assert links[0].url != links[1].url
        assert links[0].username == "admin"


async def test_deleting_a_ready_clone_gives_its_delete_job() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        await make_ready(edge, job_id)
        request = clone_service_pb2.DeleteCloneRequest(clone_id=job_id, request_id="d")
        job = await edge.stub.DeleteClone(request, metadata=edge.as_(CUSTOMER))
        assert (job.type, job.status, job.clone_id) == ("delete", "pending", job_id)
        assert (await edge.stub.DeleteClone(request, metadata=edge.as_(CUSTOMER))).job_id == job.job_id


async def test_deleting_a_clone_in_the_making_cancels_its_job() -> None:
    async with serving() as edge:
        job_id = (await edge.create()).job_id
        job = await edge.stub.DeleteClone(clone_service_pb2.DeleteCloneRequest(clone_id=job_id), metadata=edge.as_(CUSTOMER))
        assert (job.job_id, job.status) == (job_id, "cancelled")


async def test_cancelling_is_immediate_before_the_first_claim_and_asked_for_after_it() -> None:
    async with serving() as edge:
        first, second = (await edge.create()).job_id, (await edge.create()).job_id
        await edge.claim(second)
        told = edge.bus.listen(subjects.CANCELS)
        cancel = clone_service_pb2.CancelJobRequest
        assert (await edge.stub.CancelJob(cancel(job_id=first), metadata=edge.as_(CUSTOMER))).status == "cancelled"
        asked = await edge.stub.CancelJob(cancel(job_id=second), metadata=edge.as_(CUSTOMER))
        assert (asked.status, asked.HasField("cancel_requested_at")) == ("running", True)
        async with asyncio.timeout(5):
            assert (await anext(told))[0] == subjects.cancel(second)
        await make_done(edge, first)
        error = await refused(edge.stub.CancelJob(cancel(job_id=await completed(edge)), metadata=edge.as_(CUSTOMER)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_FINISHED")


async def make_done(edge: Edge, job_id: str) -> None:
    """Cancelling what is cancelled already is no error."""
    again = await edge.stub.CancelJob(clone_service_pb2.CancelJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
    assert again.status == "cancelled"


async def completed(edge: Edge) -> str:
    job_id: str = (await edge.create()).job_id
    await make_ready(edge, job_id)
    return job_id


async def test_a_priority_is_the_queue_that_a_job_is_rung_in() -> None:
    async with serving() as edge:
        for word, who in (("", CUSTOMER), ("low", CUSTOMER), ("normal", CUSTOMER), ("high", OPERATOR)):
            job = await edge.create(who, priority=word)
            priority = Priority(word or "normal")
            assert job.priority == priority.value
            delivery = await edge.bus.take(priority, wait=5)
            assert delivery is not None
            assert delivery.ring is not None
            assert delivery.ring.job_id == job.job_id
            await delivery.ack()


async def test_high_priority_is_for_administrators_and_other_words_are_none() -> None:
    async with serving() as edge:
        denied = await refused(edge.stub.CreateClone(clone_request(priority="high"), metadata=edge.as_(CUSTOMER)))
        assert (denied.code(), reason(denied)) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        wrong = await refused(edge.stub.CreateClone(clone_request(priority="urgent"), metadata=edge.as_(CUSTOMER)))
        assert (wrong.code(), reason(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert (await edge.stub.ListJobs(clone_service_pb2.ListJobsRequest(), metadata=edge.as_(CUSTOMER))).jobs == []


async def test_an_estimate_comes_from_earlier_jobs() -> None:
    async with serving(rhythm=Rhythm(estimates=0.02)) as edge:
        job_id = (await edge.create()).job_id
        claim = await edge.claim(job_id)
        await edge.apply(transitions.step_started(claim, Step("copy_files", 1, StepState.RUNNING, 1), status_message="Copying"))
        await edge.apply(transitions.step_done(claim, Step("copy_files", 1, StepState.DONE, 1), progress=50))
        await edge.apply(transitions.completed(claim, result={}, status_message="Done", clone=None))
        job_id = (await edge.create()).job_id

        async def is_estimated() -> bool:
            job = await edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=job_id), metadata=edge.as_(CUSTOMER))
            return bool(job.HasField("estimated_completion"))

        await until_async(is_estimated, within=5)


async def test_reflection_names_the_service() -> None:
    async with serving() as edge:
        stub = reflection_pb2_grpc.ServerReflectionStub(edge.channel)  # type: ignore[no-untyped-call]
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await call.read()
        assert SERVICE in [service.name for service in answer.list_services_response.service]
        call.cancel()
