"""REST through the real Envoy: codes, golden bodies, error bodies, and a watch as lines of JSON."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.api import annotations_pb2  # type: ignore[import-untyped]

from server.app import SERVICE
from tests.support.edge import Answer, Rest, rest_serving
from tests.support.serving import CUSTOMER, OTHER, PASSWORD, clone_request
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import JobError, Limits, Step
from wpclone.core.jobs.states import CloneState, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.standalone import envoy
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = "<time>"
RPC = "type.googleapis.com/google.rpc"
NESTED = {"source": {"admin_login": {"url": "https://example.com", "username": "admin", "password": PASSWORD}}}
FLAT = {"source_url": "https://example.com", "source_username": "admin", "source_password": PASSWORD}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rest() -> AsyncIterator[Rest]:
    async with rest_serving() as running:
        yield running


def golden(body: Any, *known: str) -> Any:
    """The body with times and the `known` id replaced, so that it can be compared."""
    if isinstance(body, dict):
        return {name: TIME if name.endswith(("_at", "_completion")) else golden(value, *known) for name, value in body.items()}
    if isinstance(body, list):
        return [golden(item, *known) for item in body]
    if isinstance(body, str):
        for one in known:
            body = body.replace(one, "<id>")
    return body


async def created(rest: Rest, as_: str = CUSTOMER) -> str:
    answer = await rest.call("POST", "/api/v2/clone", as_=as_, json=FLAT)
    assert answer.status == 202
    return str(answer.body["job_id"])


async def ready(rest: Rest) -> str:
    job_id = await created(rest)
    claim = await rest.edge.claim(job_id)
    change = CloneChange(CloneState.READY, url="http://c.localhost:1", admin_login="admin", starts_ttl=True)
    result = {"clone_url": "http://c.localhost:1", "username": "admin", "rows": 12, "copy_seconds": 1.5, "report": {"a": [1]}}
    await rest.edge.apply(transitions.completed(claim, result=result, status_message="Clone ready", clone=change))
    return job_id


async def test_the_config_is_valid(rest: Rest) -> None:
    command = [envoy.program(), "--mode", "validate", "-c", str(rest.place.configuration), "--disable-hot-restart"]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("body", [NESTED, FLAT], ids=["nested", "flat"])
async def test_a_created_job_is_202_with_its_location(rest: Rest, body: dict[str, Any]) -> None:
    answer = await rest.call("POST", "/api/v2/clone", json={**body, "ttl_minutes": 30})
    job_id = answer.body["job_id"]
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{job_id}")
    assert not [name for name in answer.headers if name.startswith("grpc-") or name == "x-http-code"]
    assert golden(answer.body, job_id) == {
        "job_id": "<id>", "type": "clone", "status": "pending", "progress": 0, "status_message": "",
        "status_url": "/api/v2/jobs/<id>", "created_at": TIME, "updated_at": TIME, "kind": "JOB_KIND_CLONE",
        "state": "JOB_STATE_PENDING", "steps": [], "attempt": 0, "revision": 1, "needs_attention": False,
        "customer_id": CUSTOMER, "clone_id": "<id>", "priority": "normal",
    }  # fmt: skip


async def test_a_completed_job_has_its_result(rest: Rest) -> None:
    job_id = await ready(rest)
    answer = await rest.call("GET", f"/api/v2/jobs/{job_id}")
    body = golden(answer.body, job_id)
    assert len(body["result"].pop("password")) == 24
    assert answer.status == 200
    assert body == {
        "job_id": "<id>", "type": "clone", "status": "completed", "progress": 100, "status_message": "Clone ready",
        "status_url": "/api/v2/jobs/<id>", "created_at": TIME, "updated_at": TIME, "completed_at": TIME,
        "result": {
            "clone_url": "http://c.localhost:1", "username": "admin", "expires_at": TIME, "rows": "12", "copy_seconds": 1.5,
            "report": {"a": [1]},
        },
        "kind": "JOB_KIND_CLONE", "state": "JOB_STATE_COMPLETED", "steps": [], "attempt": 0, "revision": 3,
        "needs_attention": False, "customer_id": CUSTOMER, "clone_id": "<id>", "priority": "normal",
    }  # fmt: skip


async def failed(rest: Rest) -> str:
    job_id = await created(rest)
    claim = await rest.edge.claim(job_id)
    error = JobError("The source does not answer.", "SOURCE_UNREACHABLE", "preflight", {"host": "example.com"})
    step = Step("preflight", 1, StepState.FAILED, attempts=2, last_error=error)
    await rest.edge.apply(transitions.condemned(claim, Verdict.FAIL, error, step, status_message="Undoing"))
    change = CloneChange(CloneState.FAILED)
    await rest.edge.apply(transitions.failed(claim, clone=change, needs_attention=False, status_message="Failed"))
    return job_id


async def test_a_dry_run_is_a_job_without_a_clone(rest: Rest) -> None:
    asked = await rest.call("POST", "/api/v2/clone", json={**FLAT, "dry_run": True, "exclude_paths": ["*.zip"]})
    job_id = asked.body["job_id"]
    assert (asked.status, "clone_id" in asked.body) == (202, False)
    assert (await rest.call("GET", f"/api/v2/clones/{job_id}")).status == 404
    claim = await rest.edge.claim(job_id)
    report = {"dry_run": True, "refusals": [], "room": {"needed_bytes": 70_000_000}, "tables_count": 12}
    result = {"rows": 900, "files": 3000, "bytes": 5_000_000, "report": report}
    await rest.edge.apply(transitions.completed(claim, result=result, status_message="Completed", clone=None))
    answer = await rest.call("GET", f"/api/v2/jobs/{job_id}")
    assert golden(answer.body, job_id) == {
        "job_id": "<id>", "type": "clone", "status": "completed", "progress": 100, "status_message": "Completed",
        "status_url": "/api/v2/jobs/<id>", "created_at": TIME, "updated_at": TIME, "completed_at": TIME,
        "result": {"rows": "900", "files": "3000", "bytes": "5000000", "report": report},
        "kind": "JOB_KIND_CLONE", "state": "JOB_STATE_COMPLETED", "steps": [], "attempt": 0, "revision": 3,
        "needs_attention": False, "customer_id": CUSTOMER, "priority": "normal",
    }  # fmt: skip


async def test_a_failed_job_says_why(rest: Rest) -> None:
    job_id = await failed(rest)
    body = golden((await rest.call("GET", f"/api/v2/jobs/{job_id}")).body, job_id)
    detail = {
        "reason": "SOURCE_UNREACHABLE", "domain": "wpclone.dev", "step": "preflight", "metadata": {"host": "example.com"},
    }  # fmt: skip
    assert (body["status"], body["error"], body["error_detail"]) == ("failed", "The source does not answer.", detail)
    assert "result" not in body
    assert body["steps"] == [
        {
            "name": "preflight", "status": "failed", "state": "STEP_STATE_FAILED", "attempts": 2, "started_at": TIME,
            "finished_at": TIME, "error": "The source does not answer.", "error_detail": detail,
        }
    ]  # fmt: skip


async def test_a_failed_job_is_asked_for_again(rest: Rest) -> None:
    old = await failed(rest)
    answer = await rest.call("POST", f"/api/v2/jobs/{old}/retry", json={"request_id": "again-1"})
    new = answer.body["job_id"]
    assert (answer.status, answer.headers["location"]) == (202, f"/api/v2/jobs/{new}")
    assert golden(answer.body, new) == {
        "job_id": "<id>", "type": "clone", "status": "pending", "progress": 0, "status_message": "",
        "status_url": "/api/v2/jobs/<id>", "created_at": TIME, "updated_at": TIME, "kind": "JOB_KIND_CLONE",
        "state": "JOB_STATE_PENDING", "steps": [], "attempt": 0, "revision": 1, "needs_attention": False,
        "customer_id": CUSTOMER, "clone_id": "<id>", "priority": "normal", "retry_of": old,
    }  # fmt: skip
    assert (await rest.call("POST", f"/api/v2/jobs/{old}/retry", json={"request_id": "again-1"})).body["job_id"] == new
    refused = await rest.call("POST", f"/api/v2/jobs/{new}/retry", json={})
    assert (refused.status, refused.reason) == (400, "JOB_NOT_RETRYABLE")


async def test_a_clone_is_shown(rest: Rest) -> None:
    clone_id = await ready(rest)
    answer = await rest.call("GET", f"/api/v2/clones/{clone_id}")
    assert golden(answer.body, clone_id) == {
        "clone_id": "<id>", "customer_id": CUSTOMER, "status": "ready", "state": "CLONE_STATE_READY",
        "source_url": "https://example.com", "clone_url": "http://c.localhost:1", "username": "admin", "ttl_minutes": 60,
        "created_at": TIME, "updated_at": TIME, "ready_at": TIME, "expires_at": TIME, "runtime": "local",
    }  # fmt: skip


async def test_a_clones_life_over_rest(rest: Rest) -> None:
    clone_id = await ready(rest)
    link = await rest.call("POST", f"/api/v2/clones/{clone_id}/sign-in", json={})
    assert (link.status, sorted(link.body)) == (200, ["expires_at", "url", "username"])
    until = (await rest.call("GET", f"/api/v2/clones/{clone_id}")).body["expires_at"]
    extended = await rest.call("POST", f"/api/v2/clones/{clone_id}/extend", json={"expires_at": until})
    assert (extended.status, extended.body["expires_at"]) == (200, until)
    deleted = await rest.call("DELETE", f"/api/v2/clones/{clone_id}?request_id=d-1")
    assert (deleted.status, deleted.body["type"], deleted.body["clone_id"]) == (202, "delete", clone_id)
    assert deleted.headers["location"] == deleted.body["status_url"]
    listed = await rest.call("GET", "/api/v2/clones?status=deleting&page_size=200")
    assert clone_id in [clone["clone_id"] for clone in listed.body["clones"]]


async def test_lists_have_pages(rest: Rest) -> None:
    for _ in range(3):
        await created(rest, OTHER)
    first = await rest.call("GET", "/api/v2/jobs?page_size=2&type=clone", as_=OTHER)
    token = first.body["next_page_token"]
    second = await rest.call("GET", f"/api/v2/jobs?page_size=2&type=clone&page_token={token}", as_=OTHER)
    ids = [job["job_id"] for answer in (first, second) for job in answer.body["jobs"]]
    assert len(ids) == len(set(ids)) >= 3


async def test_a_job_is_cancelled(rest: Rest) -> None:
    job_id = await created(rest)
    answer = await rest.call("POST", f"/api/v2/jobs/{job_id}/cancel", json={})
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert "cancel_requested_at" in answer.body


async def test_a_wait_gives_the_job_after_its_time(rest: Rest) -> None:
    job_id = await created(rest)
    answer = await rest.call("GET", f"/api/v2/jobs/{job_id}/wait?timeout_seconds=1")
    assert (answer.status, answer.body["status"]) == (200, "pending")


async def test_a_watch_is_one_json_object_a_line_until_the_end(rest: Rest) -> None:
    job_id = await created(rest)
    headers = {"authorization": f"Bearer {rest.edge.tokens[CUSTOMER]}"}
    async with rest.session.get(rest.url(f"/api/v2/jobs/{job_id}/watch"), headers=headers) as response:
        assert response.status == 200
        first = json.loads(await response.content.readline())
        assert golden(first, job_id)["job"]["status"] == "pending"
        assert first["closing"] is False
        claim = await rest.edge.claim(job_id)
        await rest.edge.apply(transitions.progressed(claim, progress=50, status_message="Copying"))
        line = json.loads(await response.content.readline())
        assert (line["job"]["progress"], line["job"]["status_message"]) == (50, "Copying")
        await rest.edge.apply(transitions.completed(claim, result={}, status_message="Done", clone=None))
        rest_of_it = (await response.content.read()).splitlines()
    assert json.loads(rest_of_it[-1])["job"]["status"] == "completed"
    assert all(line.strip() for line in rest_of_it)


def bad_fields(answer: Answer) -> set[str]:
    return {
        violation["field"]
        for detail in answer.body["details"]
        if detail["@type"].endswith("BadRequest")
        for violation in detail["field_violations"]
    }


async def test_a_refusal_has_code_message_and_details(rest: Rest) -> None:
    answer = await rest.call("GET", "/api/v2/jobs/clone-0123456789ab")
    assert answer.status == 404
    assert answer.body == {
        "code": 5,
        "message": "There is no job with this id.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "JOB_NOT_FOUND",
                "domain": "wpclone.dev",
                "metadata": {},
            },
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "req-1", "serving_data": ""},
        ],
    }
    assert answer.headers["x-request-id"] == "req-1"


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "reason", "fields"),
    [
        ("POST", "/api/v2/clone", {"json": {**FLAT, "ttl_minutes": 4}}, 400, "INVALID_REQUEST", {"ttl_minutes"}),
        ("POST", "/api/v2/clone", {"json": {**FLAT, **NESTED}}, 400, "INVALID_REQUEST", {"source"}),
        ("POST", "/api/v2/clone", {"json": {**FLAT, "source_url": "exa mple"}}, 400, "INVALID_REQUEST", {"source_url"}),
        ("POST", "/api/v2/clone", {"data": b""}, 400, "INVALID_REQUEST", {"source"}),
        ("GET", "/api/v2/jobs?page_token=nonsense", {}, 400, "INVALID_REQUEST", {"page_token"}),
        ("GET", "/api/v2/jobs?status=asleep", {}, 400, "INVALID_REQUEST", {"status"}),
        ("GET", "/api/v2/jobs/no-such-id", {}, 400, "INVALID_REQUEST", {"job_id"}),
        ("GET", "/api/v2/jobs/no-such-id/watch", {}, 400, "INVALID_REQUEST", {"job_id"}),
    ],
    ids=["ttl", "both sources", "url", "no body", "page token", "status", "id", "watch"],
)  # fmt: skip
async def test_bad_input_names_its_fields(
    rest: Rest, method: str, path: str, how: dict[str, Any], status: int, reason: str, fields: set[str]
) -> None:
    answer = await rest.call(method, path, **how)
    assert (answer.status, answer.reason, bad_fields(answer)) == (status, reason, fields)
    assert answer.body["code"] == 3


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "reason"),
    [
        ("POST", "/api/v2/clone", {"data": b"{nonsense"}, 400, "EDGE_BAD_REQUEST"),
        ("POST", "/api/v2/clone", {"json": {"ttl_minutes": "soon"}}, 400, "EDGE_BAD_REQUEST"),
        ("GET", "/api/v2/jobs?colour=red", {}, 400, "EDGE_BAD_REQUEST"),
        ("GET", "/api/v2/nothing", {}, 404, "EDGE_NO_ROUTE"),
        ("PUT", "/api/v2/clone", {}, 404, "EDGE_NO_ROUTE"),
        ("GET", "/", {}, 404, "EDGE_NO_ROUTE"),
        ("POST", "/api/v2/clone", {"json": {"source_url": "x" * 70_000}}, 413, "EDGE_BODY_TOO_LARGE"),
        ("GET", "/api/v2/jobs/clone-0123456789ab/watch", {}, 404, "JOB_NOT_FOUND"),
        ("GET", "/api/v2/jobs/clone-0123456789ab/wait", {}, 404, "JOB_NOT_FOUND"),
        ("GET", "/api/v2/clones/clone-0123456789ab", {}, 404, "CLONE_NOT_FOUND"),
        ("DELETE", "/api/v2/clones/clone-0123456789ab", {}, 404, "CLONE_NOT_FOUND"),
    ],
    ids=["json", "type", "parameter", "path", "method", "root", "size", "watch", "wait", "clone", "delete"],
)
async def test_every_error_is_json_with_a_reason(
    rest: Rest, method: str, path: str, how: dict[str, Any], status: int, reason: str
) -> None:
    answer = await rest.call(method, path, **how)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.body["message"]


@pytest.mark.parametrize("path", ["/api/v2/clone", "/api/v1/clone"])
async def test_a_limit_is_429_with_the_time_to_try_again(rest: Rest, path: str) -> None:
    await rest.edge.store.set_limits(OTHER, Limits(live_clones=0))
    try:
        answer = await rest.call("POST", path, as_=OTHER, json=FLAT)
    finally:
        await rest.edge.store.set_limits(OTHER, Limits())
    assert (answer.status, answer.reason) == (429, "LIMIT_REACHED")
    (told,) = [detail["retry_delay"] for detail in answer.body["details"] if detail["@type"] == f"{RPC}.RetryInfo"]
    assert f"{answer.headers['retry-after']}s" == told
    assert int(answer.headers["retry-after"]) > 0


async def test_no_token_and_anothers_job(rest: Rest) -> None:
    job_id = await created(rest, OTHER)
    nobody = await rest.call("GET", f"/api/v2/jobs/{job_id}", as_=None)
    stranger = await rest.call("GET", f"/api/v2/jobs/{job_id}")
    unknown = await rest.call("GET", "/api/v2/jobs/clone-0123456789ab")
    assert (nobody.status, nobody.reason) == (401, "UNAUTHENTICATED")
    assert (stranger.status, stranger.body) == (404, unknown.body)


async def test_the_same_request_id_with_another_body_is_409(rest: Rest) -> None:
    body = {**FLAT, "request_id": "rest-1"}
    first, again = await rest.call("POST", "/api/v2/clone", json=body), await rest.call("POST", "/api/v2/clone", json=body)
    assert (again.status, again.body["job_id"]) == (202, first.body["job_id"])
    other = await rest.call("POST", "/api/v2/clone", json={**body, "ttl_minutes": 61})
    assert (other.status, other.reason) == (409, "REQUEST_ID_REUSED")


async def test_grpc_goes_through_the_same_port(rest: Rest) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rest.place.api_port}") as channel:
        stub: Any = clone_service_pb2_grpc.CloneServiceStub(channel)
        job = await stub.CreateClone(clone_request(), metadata=rest.edge.as_(CUSTOMER))
        call = stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job.job_id), metadata=rest.edge.as_(CUSTOMER))
        assert (await call.read()).job.job_id == job.job_id
        call.cancel()


async def test_health_is_answered(rest: Rest) -> None:
    assert (await rest.call("GET", "/healthz", as_=None)).status == 200


async def test_a_host_without_a_clone_is_404(rest: Rest) -> None:
    url = f"http://127.0.0.1:{rest.place.clones_port}/"
    async with rest.session.get(url, headers={"host": "clone-0123456789ab.localhost"}) as response:
        assert response.status == 404
        assert "no such clone" in await response.text()


async def test_routes_are_the_golden_ones() -> None:
    """buf finds no break in REST paths; this does. Add lines, never change one."""
    rules = {}
    for method in clone_service_pb2.DESCRIPTOR.services_by_name["CloneService"].methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        verb = rule.WhichOneof("pattern")
        rules[method.name] = f"{verb.upper()} {getattr(rule, verb)} {rule.body}".strip()
    assert SERVICE == "wpclone.v2.CloneService"
    assert rules == {
        "CreateClone": "POST /api/v2/clone *",
        "GetClone": "GET /api/v2/clones/{clone_id}",
        "ListClones": "GET /api/v2/clones",
        "ExtendClone": "POST /api/v2/clones/{clone_id}/extend *",
        "DeleteClone": "DELETE /api/v2/clones/{clone_id}",
        "CreateSignInLink": "POST /api/v2/clones/{clone_id}/sign-in *",
        "GetJob": "GET /api/v2/jobs/{job_id}",
        "ListJobs": "GET /api/v2/jobs",
        "WaitJob": "GET /api/v2/jobs/{job_id}/wait",
        "WatchJob": "GET /api/v2/jobs/{job_id}/watch",
        "CancelJob": "POST /api/v2/jobs/{job_id}/cancel *",
        "RetryJob": "POST /api/v2/jobs/{job_id}/retry *",
        "CreateRestore": "POST /api/v2/restore *",
        "RollbackRestore": "POST /api/v2/jobs/{job_id}/rollback *",
        "ReleaseRestore": "POST /api/v2/jobs/{job_id}/release *",
    }


async def test_a_closed_port_behind_is_503(rest: Rest) -> None:
    """Last in this file: afterwards nothing serves."""
    await rest.edge.app.drain(0)
    async with aiohttp.ClientSession() as session, session.get(rest.url("/api/v2/jobs")) as response:
        body = await response.json()
        assert (response.status, body["code"]) == (503, 14)
        assert body["details"][0]["reason"] == "EDGE_UPSTREAM_UNAVAILABLE"
