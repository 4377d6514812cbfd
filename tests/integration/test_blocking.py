"""The older API, v1: a call lasts as long as its work, over REST through the real Envoy and over gRPC."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.api import annotations_pb2  # type: ignore[import-untyped]

from server.app import BLOCKING_SERVICE
from tests.support.edge import Answer, Rest, rest_serving
from tests.support.serving import CUSTOMER, OPERATOR, OTHER, PASSWORD, Edge, serving
from tests.support.wait import until_async
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Job, JobError, Step
from wpclone.core.jobs.states import CloneState, JobState, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.store import Page
from wpclone.v1 import clone_service_pb2, clone_service_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/v1/clone"
BODY: dict[str, Any] = {"source_url": "https://example.com", "source_username": "admin", "source_password": PASSWORD}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rest() -> AsyncIterator[Rest]:
    async with rest_serving() as running:
        yield running


async def newest(edge: Edge, besides: set[str], customer: str = CUSTOMER) -> Job:
    """The job that a call which has no answer yet made; what was there before is `besides`."""
    found: list[Job] = []

    async def is_there() -> bool:
        listed = await edge.store.list_jobs(customer_id=customer, page=Page(200), state=None, kind=None)
        found[:] = [job for job in listed if job.job_id not in besides]
        return bool(found)

    await until_async(is_there, within=20)
    return found[0]


async def known(edge: Edge) -> set[str]:
    jobs = await edge.store.list_jobs(customer_id=CUSTOMER, page=Page(200), state=None, kind=None)
    return {job.job_id for job in jobs}


async def complete(edge: Edge, job_id: str) -> None:
    claim = await edge.claim(job_id)
    change = CloneChange(CloneState.READY, url="http://c.localhost:1", admin_login="admin", starts_ttl=True)
    result = {"clone_url": "http://c.localhost:1", "username": "admin", "rows": 12}
    await edge.apply(transitions.completed(claim, result=result, status_message="Clone ready", clone=change))


async def fail(edge: Edge, job_id: str) -> None:
    claim = await edge.claim(job_id)
    error = JobError("The source does not answer.", "SOURCE_UNREACHABLE", "preflight", {"host": "example.com"})
    step = Step("preflight", 1, StepState.FAILED, attempts=2, last_error=error)
    await edge.apply(transitions.condemned(claim, Verdict.FAIL, error, step, status_message="Undoing"))
    change = CloneChange(CloneState.FAILED)
    await edge.apply(transitions.failed(claim, clone=change, needs_attention=False, status_message="Failed"))


async def asking(rest: Rest, path: str = PATH, **body: Any) -> tuple["asyncio.Task[Answer]", str]:
    """A call under way, and the job it made."""
    before = await known(rest.edge)
    call = asyncio.create_task(rest.call("POST", path, json={**BODY, **body}))
    return call, (await newest(rest.edge, before)).job_id


async def test_a_clone_answers_when_it_is_ready_with_its_password(rest: Rest) -> None:
    call, job_id = await asking(rest, ttl_minutes=30)
    assert not call.done()
    await complete(rest.edge, job_id)
    answer = await call
    assert (answer.status, answer.body["status"], answer.body["job_id"]) == (200, "completed", job_id)
    assert answer.body["result"]["clone_url"] == "http://c.localhost:1"
    assert len(answer.body["result"]["password"]) == 24
    assert not [name for name in answer.headers if name.startswith("grpc-") or name == "x-http-code"]
    assert "location" not in answer.headers
    shown = await rest.call("GET", f"/api/v2/jobs/{job_id}")
    assert shown.body == answer.body


async def test_a_failed_clone_is_an_answer_and_no_error(rest: Rest) -> None:
    call, job_id = await asking(rest)
    await fail(rest.edge, job_id)
    answer = await call
    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert answer.body["error_detail"]["reason"] == "SOURCE_UNREACHABLE"


@pytest.mark.parametrize(
    ("path", "more"), [(PATH, {"async_mode": True}), (f"{PATH}?async_mode=true", {})], ids=["in the body", "in the query"]
)
async def test_async_mode_answers_at_once_as_v2_does(rest: Rest, path: str, more: dict[str, Any]) -> None:
    answer = await rest.call("POST", path, json={**BODY, **more})
    job_id = answer.body["job_id"]
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{job_id}")
    other = await rest.call("POST", "/api/v2/clone", json=BODY)
    assert set(answer.body) == set(other.body)
    assert answer.body["status"] == "pending"


async def test_a_client_that_goes_away_cancels_nothing(rest: Rest) -> None:
    call, job_id = await asking(rest)
    call.cancel()
    await asyncio.wait([call])
    await until_async(lambda: is_unwatched(rest.edge), within=20)
    job = await rest.edge.store.get_job(job_id)
    assert job is not None
    assert (job.state, job.cancel_requested_at) == (JobState.PENDING, None)
    await complete(rest.edge, job_id)


async def is_unwatched(edge: Edge) -> bool:
    return edge.metrics.registry.get_sample_value("clone_watchers") == 0


async def test_a_repeated_call_waits_for_the_same_job_whichever_api_asked(rest: Rest) -> None:
    first = await rest.call("POST", "/api/v2/clone", json={**BODY, "request_id": "v1-1"})
    call = asyncio.create_task(rest.call("POST", PATH, json={**BODY, "request_id": "v1-1"}))
    await complete(rest.edge, first.body["job_id"])
    again = await call
    assert (again.status, again.body["job_id"]) == (200, first.body["job_id"])
    other = await rest.call("POST", PATH, json={**BODY, "request_id": "v1-1", "ttl_minutes": 61})
    assert (other.status, other.reason) == (409, "REQUEST_ID_REUSED")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"source_url", "source_username", "source_password"}),
        ({**BODY, "ttl_minutes": 1, "customer_id": "No!"}, {"ttl_minutes", "customer_id"}),
        ({**BODY, "source_url": "exa mple"}, {"source_url"}),
    ],
    ids=["empty", "life and customer", "url"],
)
async def test_bad_input_names_its_fields(rest: Rest, body: dict[str, Any], fields: set[str]) -> None:
    answer = await rest.call("POST", PATH, json=body)
    bad = next(detail for detail in answer.body["details"] if detail["@type"].endswith("BadRequest"))
    assert (answer.status, answer.reason) == (400, "INVALID_REQUEST")
    assert {violation["field"] for violation in bad["field_violations"]} == fields


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [(f"{PATH}?colour=red", 400, "EDGE_BAD_REQUEST"), ("/api/v1/nothing", 404, "EDGE_NO_ROUTE")],
    ids=["parameter", "path"],
)
async def test_what_is_not_in_the_api_is_refused(rest: Rest, path: str, status: int, reason: str) -> None:
    answer = await rest.call("POST", path, json=BODY)
    assert (answer.status, answer.reason) == (status, reason)


async def test_routes_are_the_golden_ones() -> None:
    rules = {}
    for method in clone_service_pb2.DESCRIPTOR.services_by_name["CloneService"].methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        rules[method.name] = f"{rule.WhichOneof('pattern').upper()} {rule.post} {rule.body}"
    assert BLOCKING_SERVICE == "wpclone.v1.CloneService"
    assert rules == {"Clone": "POST /api/v1/clone *", "Restore": "POST /api/v1/restore *"}


async def test_grpc_goes_through_envoy_too(rest: Rest) -> None:
    before = await known(rest.edge)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rest.place.api_port}") as channel:
        stub: Any = clone_service_pb2_grpc.CloneServiceStub(channel)
        call = stub.Clone(clone_service_pb2.CloneRequest(**BODY), metadata=rest.edge.as_(CUSTOMER))
        job_id = (await newest(rest.edge, before)).job_id
        await complete(rest.edge, job_id)
        assert (await call).job_id == job_id


def stub(edge: Edge) -> Any:
    return clone_service_pb2_grpc.CloneServiceStub(edge.channel)


async def test_a_callers_deadline_gets_the_job_as_it_is() -> None:
    async with serving() as edge:
        call = stub(edge).Clone(clone_service_pb2.CloneRequest(**BODY), metadata=edge.as_(CUSTOMER), timeout=2)
        assert (await call).status == "pending"
        assert dict(await call.initial_metadata())["x-http-code"] == "202"


async def test_a_server_that_goes_away_answers_with_the_job_first() -> None:
    async with serving() as edge:
        call = stub(edge).Clone(clone_service_pb2.CloneRequest(**BODY), metadata=edge.as_(CUSTOMER))
        job_id = (await newest(edge, set())).job_id
        await edge.app.drain(5)
        assert ((await call).job_id, (await call).status) == (job_id, "pending")


async def test_a_customer_with_as_many_waits_as_it_may_gets_the_job_as_it_was_accepted() -> None:
    async with serving(watches_each=0) as edge:
        job = await stub(edge).Clone(clone_service_pb2.CloneRequest(**BODY), metadata=edge.as_(CUSTOMER), timeout=30)
        assert (job.status, (await edge.store.get_job(job.job_id)) is not None) == ("pending", True)


async def test_an_outage_after_acceptance_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(_job_id: str) -> None:
        raise StoreUnavailable

    async with serving() as edge:
        call = stub(edge).Clone(clone_service_pb2.CloneRequest(**BODY), metadata=edge.as_(CUSTOMER))
        job_id = (await newest(edge, set())).job_id
        with monkeypatch.context() as outage:
            outage.setattr(edge.store, "get_job", down)
            await complete(edge, job_id)
            assert (await call).job_id == job_id
        assert dict(await call.initial_metadata())["location"] == f"/api/v2/jobs/{job_id}"


@pytest.mark.parametrize(
    ("caller", "status"), [(CUSTOMER, 202), (OPERATOR, 202), (OTHER, 403), ("wpc_not-a-token", 401), (None, 401)], ids=str
)
async def test_who_may_call_it_over_rest(rest: Rest, caller: str | None, status: int) -> None:
    answer = await rest.call("POST", PATH, as_=caller, json={**BODY, "customer_id": CUSTOMER, "async_mode": True})
    assert answer.status == status


@pytest.mark.parametrize(
    ("caller", "code"),
    [(CUSTOMER, "OK"), (OPERATOR, "OK"), (OTHER, "PERMISSION_DENIED"), (None, "UNAUTHENTICATED")],
    ids=str,
)
async def test_who_may_call_it_over_grpc(rest: Rest, caller: str | None, code: str) -> None:
    request = clone_service_pb2.CloneRequest(**BODY, customer_id=CUSTOMER, async_mode=True)
    try:
        await stub(rest.edge).Clone(request, metadata=rest.edge.as_(caller) if caller else (), timeout=10)
        found = "OK"
    except grpc.aio.AioRpcError as error:
        found = error.code().name
    assert found == code


async def test_an_administrator_of_another_customer_gets_no_password(rest: Rest) -> None:
    before = await known(rest.edge)
    body = {**BODY, "customer_id": CUSTOMER}
    call = asyncio.create_task(rest.call("POST", PATH, as_=OPERATOR, json=body))
    await complete(rest.edge, (await newest(rest.edge, before)).job_id)
    answer = await call
    assert (answer.status, answer.body["status"]) == (200, "completed")
    assert "password" not in answer.body["result"]


async def ready_clone(rest: Rest) -> str:
    clone_id = (await rest.edge.create()).clone_id
    await complete(rest.edge, clone_id)
    return str(clone_id)


def target() -> dict[str, str]:
    """A site that no other test restores to."""
    return {"target_url": f"https://{secrets.token_hex(6)}.example", "target_username": "admin", "target_password": PASSWORD}


async def test_a_restore_answers_at_its_end(rest: Rest) -> None:
    body = {"clone_id": await ready_clone(rest), **target()}
    before = await known(rest.edge)
    call = asyncio.create_task(rest.call("POST", "/api/v1/restore", json=body))
    job = await newest(rest.edge, before)
    assert job.request["preserve_plugins"] is True
    claim = await rest.edge.claim(job.job_id)
    assert not call.done()
    result = {"target_url": body["target_url"], "rows": 5}
    await rest.edge.apply(transitions.completed(claim, result=result, status_message="Completed", clone=None))
    answer = await call
    assert (answer.status, answer.body["type"], answer.body["status"]) == (200, "restore", "completed")
    assert answer.body["job_id"] == job.job_id


async def test_a_restore_in_async_mode_answers_at_once_and_is_v2s(rest: Rest) -> None:
    body = {
        "clone_id": await ready_clone(rest),
        **target(),
        "preserve_plugins": False,
        "request_id": f"v1-{secrets.token_hex(4)}",
    }
    answer = await rest.call("POST", "/api/v1/restore?async_mode=true", json=body)
    again = await rest.call("POST", "/api/v2/restore", json=body)
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{answer.body['job_id']}")
    assert again.body["job_id"] == answer.body["job_id"]
    job = await rest.edge.store.get_job(answer.body["job_id"])
    assert job is not None
    assert job.request["preserve_plugins"] is False


async def test_a_restores_bad_fields_are_named_as_v1_spells_them(rest: Rest) -> None:
    answer = await rest.call("POST", "/api/v1/restore", json={"clone_id": "clone-1"})
    bad = next(detail for detail in answer.body["details"] if detail["@type"].endswith("BadRequest"))
    assert (answer.status, {violation["field"] for violation in bad["field_violations"]}) == (400, {"clone_id", "target_url"})
    onto = {"source_url": "https://a.example", "source_username": "a", "source_password": "p"}
    same = {"target_url": "https://a.example", "target_username": "a", "target_password": "p"}
    refused = await rest.call("POST", "/api/v1/restore", json={**onto, **same})
    (bad,) = (detail for detail in refused.body["details"] if detail["@type"].endswith("BadRequest"))
    assert [violation["field"] for violation in bad["field_violations"]] == ["target_url"]


@pytest.mark.parametrize(("caller", "status"), [(CUSTOMER, 202), (OPERATOR, 202), (OTHER, 404), (None, 401)], ids=str)
async def test_who_may_restore_a_customers_clone(rest: Rest, caller: str | None, status: int) -> None:
    body = {"clone_id": await ready_clone(rest), **target(), "async_mode": True}
    assert (await rest.call("POST", "/api/v1/restore", as_=caller, json=body)).status == status
