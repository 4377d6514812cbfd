"""Who may call what: one matrix, proved over gRPC and over REST through Envoy."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict

from tests.support.edge import Rest, rest_serving
from tests.support.serving import CUSTOMER, OPERATOR, OTHER, clone_request
from wpclone.core.jobs.job import NewJob
from wpclone.core.jobs.states import JobKind
from wpclone.v2 import clone_service_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = {method.name: method for method in clone_service_pb2.DESCRIPTOR.services_by_name["CloneService"].methods}
OK, MISSING, DENIED, NOBODY = "OK", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED"
NOT_READY = "FAILED_PRECONDITION"
HTTP = {OK: {200, 202}, MISSING: {404}, DENIED: {403}, NOBODY: {401}, NOT_READY: {400}}

# What the owner, an administrator, and another customer get for a pending clone of CUSTOMER.
# Where a request names no thing, it names CUSTOMER as the customer.
MATRIX = {
    "CreateClone": (OK, OK, DENIED),
    "GetClone": (OK, OK, MISSING),
    "ListClones": (OK, OK, DENIED),
    "ExtendClone": (NOT_READY, NOT_READY, MISSING),
    "DeleteClone": (OK, OK, MISSING),
    "CreateSignInLink": (NOT_READY, NOT_READY, MISSING),
    "GetJob": (OK, OK, MISSING),
    "ListJobs": (OK, OK, DENIED),
    "WaitJob": (OK, OK, MISSING),
    "WatchJob": (OK, OK, MISSING),
    "CancelJob": (OK, OK, MISSING),
    "RetryJob": (NOT_READY, NOT_READY, MISSING),
    "CreateRestore": (NOT_READY, NOT_READY, DENIED),
    "RollbackRestore": (NOT_READY, NOT_READY, MISSING),
    "ReleaseRestore": (NOT_READY, NOT_READY, MISSING),
}
CALLERS = [CUSTOMER, OPERATOR, OTHER, "wpc_not-a-token", None]
CASES = [
    pytest.param(method, caller, (*codes, NOBODY, NOBODY)[CALLERS.index(caller)], id=f"{method}-{caller}")
    for method, codes in MATRIX.items()
    for caller in CALLERS
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rest() -> AsyncIterator[Rest]:
    async with rest_serving() as running:
        yield running


def request_for(method: str, clone_id: str) -> Any:
    kind = getattr(clone_service_pb2, METHODS[method].input_type.name)
    request: Any = kind() if method != "CreateClone" else clone_request()
    for field in ("job_id", "clone_id"):
        if field in kind.DESCRIPTOR.fields_by_name:
            setattr(request, field, clone_id)
    if "customer_id" in kind.DESCRIPTOR.fields_by_name:
        request.customer_id = CUSTOMER
    if method == "CreateRestore":
        login = request.target.admin_login
        login.url, login.username, login.password = "https://t.example", "admin", "secret"
    if method == "WaitJob":
        request.timeout_seconds = 1
    if method == "ExtendClone":
        request.expires_at.GetCurrentTime()
        request.expires_at.seconds += 3600
    return request


async def thing(rest: Rest, method: str) -> str:
    """A clone of CUSTOMER, pending; cancelled for the calls that last, so that they end. For what is about restores, one."""
    clone_id: str = (await rest.edge.create()).clone_id
    if method in ("RollbackRestore", "ReleaseRestore"):
        return await pending_restore(rest)
    if method in ("WaitJob", "WatchJob"):
        await rest.edge.store.request_cancel(clone_id)
    return clone_id


async def pending_restore(rest: Rest) -> str:
    """A restore of CUSTOMER's that has not ended."""
    job_id = f"restore-{secrets.token_hex(6)}"
    new = NewJob(job_id, JobKind.RESTORE, CUSTOMER, {"target_url": "https://t.example"}, None, 1, timedelta(hours=1))
    await rest.edge.store.begin_restore(new, site_key=f"{job_id}.example")
    return job_id


async def test_the_matrix_has_every_method() -> None:
    assert set(MATRIX) == set(METHODS)


@pytest.mark.parametrize(("method", "caller", "expected"), CASES)
async def test_over_grpc(rest: Rest, method: str, caller: str | None, expected: str) -> None:
    request = request_for(method, await thing(rest, method))
    token = rest.edge.tokens.get(caller or "", caller)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    call = getattr(rest.edge.stub, method)(request, metadata=metadata, timeout=10)
    try:
        await (call.read() if method == "WatchJob" else call)
        code = OK
    except grpc.aio.AioRpcError as error:
        code = error.code().name
    assert code == expected


@pytest.mark.parametrize(("method", "caller", "expected"), CASES)
async def test_over_rest(rest: Rest, method: str, caller: str | None, expected: str) -> None:
    request = request_for(method, await thing(rest, method))
    rule = METHODS[method].GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    fields = MessageToDict(request, preserving_proto_field_name=True)
    path = getattr(rule, verb).format(**fields)
    rest_fields = {name: value for name, value in fields.items() if f"{{{name}}}" not in getattr(rule, verb)}
    how: dict[str, Any] = {"json": rest_fields} if rule.body else {"params": rest_fields}
    answer = await rest.call(verb.upper(), path, as_=caller, **how)
    assert answer.status in HTTP[expected]


ODD = ["", "Bearer", "Bearer ", "Basic dXNlcjpwdw==", "Bearer " + "x" * 300, "bearer", "Token abc"]


@pytest.mark.parametrize("header", ODD, ids=lambda header: header[:12] or "empty")
async def test_odd_credentials_are_no_credentials(rest: Rest, header: str) -> None:
    answer = await rest.call("GET", "/api/v2/jobs", as_=None, headers={"authorization": header})
    assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")


async def test_the_scheme_may_be_spelled_in_any_case(rest: Rest) -> None:
    answer = await rest.call("GET", "/api/v2/jobs", as_=None, headers={"authorization": f"bEARER {rest.edge.tokens[CUSTOMER]}"})
    assert answer.status == 200


async def test_an_administrator_sees_everybodys_and_may_name_one(rest: Rest) -> None:
    mine, others = (await rest.edge.create(CUSTOMER)).job_id, (await rest.edge.create(OTHER)).job_id
    everybody = {job["job_id"] for job in (await rest.call("GET", "/api/v2/jobs?page_size=200", as_=OPERATOR)).body["jobs"]}
    assert {mine, others} <= everybody
    one = (await rest.call("GET", f"/api/v2/jobs?page_size=200&customer_id={OTHER}", as_=OPERATOR)).body["jobs"]
    assert {job["customer_id"] for job in one} == {OTHER}
    own = (await rest.call("GET", "/api/v2/jobs?page_size=200", as_=OTHER)).body["jobs"]
    assert {job["customer_id"] for job in own} == {OTHER}
