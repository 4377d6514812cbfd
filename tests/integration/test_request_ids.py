"""request_id on every mutation: the same body gives the same answer, another body is refused."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.serving import CUSTOMER, OTHER, Edge, clone_request, reason, serving
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import JobError
from wpclone.core.jobs.states import CloneState, Verdict
from wpclone.core.jobs.transitions import CloneChange, KeptSet
from wpclone.v2 import clone_service_pb2 as messages
from wpclone.v2 import site_pb2

METHODS = messages.DESCRIPTOR.services_by_name["CloneService"].methods
NO_MUTATIONS = {"CreateSignInLink"}
"""POST because the answer is a secret that nobody may cache; nothing is recorded, and each call makes another link."""


async def ready(edge: Edge) -> str:
    clone_id: str = (await edge.create()).clone_id
    claim = await edge.claim(clone_id)
    change = CloneChange(CloneState.READY, url="http://c.localhost", admin_login="admin", starts_ttl=True)
    await edge.apply(transitions.completed(claim, result={}, status_message="Done", clone=change))
    return clone_id


async def failed(edge: Edge) -> str:
    job_id: str = (await edge.create()).job_id
    claim = await edge.claim(job_id)
    error = JobError("It did not work.", "SOURCE_UNREACHABLE")
    await edge.apply(transitions.condemned(claim, Verdict.FAIL, error, None, status_message="Undoing"))
    change = CloneChange(CloneState.FAILED)
    await edge.apply(transitions.failed(claim, clone=change, needs_attention=False, status_message="Failed"))
    return job_id


async def pending(edge: Edge) -> str:
    return str((await edge.create()).job_id)


def until(hours: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime((datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0))
    return stamp


Bodies = Callable[[Edge], Awaitable[tuple[dict[str, Any], dict[str, Any]]]]


async def creates(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {"ttl_minutes": 61}


async def extends(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    clone_id = await ready(edge)
    return {"clone_id": clone_id, "expires_at": until(3)}, {"clone_id": clone_id, "expires_at": until(4)}


async def deletes(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"clone_id": await ready(edge)}, {"clone_id": await ready(edge)}


async def cancels(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"job_id": await pending(edge)}, {"job_id": await pending(edge)}


async def retries(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"job_id": await failed(edge)}, {"job_id": await failed(edge)}


async def restores(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    clone_id = await ready(edge)
    return restore(clone_id, "shop"), restore(clone_id, "other-shop")


def restore(clone_id: str, host: str) -> dict[str, Any]:
    login = site_pb2.AdminLogin(url=f"https://{host}.example", username="admin", password="secret")
    return {"clone_id": clone_id, "target": site_pb2.SourceSite(admin_login=login)}


async def leaves(edge: Edge) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"job_id": await restored(edge, "shop")}, {"job_id": await restored(edge, "other-shop")}


async def restored(edge: Edge, host: str) -> str:
    asked = request("CreateRestore", restore(await ready(edge), host), "")
    job_id: str = (await edge.stub.CreateRestore(asked, metadata=edge.as_(CUSTOMER))).job_id
    claim, kept = await edge.claim(job_id), KeptSet(timedelta(hours=72))
    await edge.apply(transitions.completed(claim, result={}, status_message="Done", clone=kept))
    return job_id


BODIES: dict[str, Bodies] = {
    "CreateClone": creates, "ExtendClone": extends, "DeleteClone": deletes, "CancelJob": cancels, "RetryJob": retries,
    "CreateRestore": restores, "RollbackRestore": leaves, "ReleaseRestore": leaves,
}  # fmt: skip
"""For each mutation a body and another one that is as good."""


def test_every_mutation_has_a_request_id() -> None:
    for method in METHODS:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        if rule.WhichOneof("pattern") != "get" and method.name not in NO_MUTATIONS:
            assert "request_id" in method.input_type.fields_by_name, method.name
            assert method.name in BODIES, f"{method.name} needs a line in BODIES"


def request(method: str, fields: dict[str, Any], request_id: str) -> Any:
    kind = getattr(messages, f"{method}Request")
    return clone_request(request_id=request_id, **fields) if method == "CreateClone" else kind(request_id=request_id, **fields)


@pytest.mark.parametrize("method", BODIES)
async def test_the_same_request_gives_the_same_answer_and_another_body_is_refused(method: str) -> None:
    async with serving() as edge:
        one, another = await BODIES[method](edge)
        call = getattr(edge.stub, method)
        answers = [await call(request(method, one, "r"), metadata=edge.as_(CUSTOMER)) for _ in range(2)]
        assert answers[0] == answers[1]
        before = await everything(edge)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request(method, another, "r"), metadata=edge.as_(CUSTOMER))
        assert (refused.value.code(), reason(refused.value)) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        assert await everything(edge) == before
        await call(request(method, another, "s"), metadata=edge.as_(CUSTOMER))
        assert await everything(edge) != before


async def everything(edge: Edge) -> Any:
    jobs = await edge.stub.ListJobs(messages.ListJobsRequest(page_size=200), metadata=edge.as_(CUSTOMER))
    clones = await edge.stub.ListClones(messages.ListClonesRequest(page_size=200), metadata=edge.as_(CUSTOMER))
    return jobs, clones


async def test_a_request_id_is_the_customers_own_and_the_methods() -> None:
    async with serving() as edge:
        mine = await edge.create(request_id="r")
        assert (await edge.create(OTHER, request_id="r")).job_id != mine.job_id
        cancel = messages.CancelJobRequest(request_id="r", job_id=mine.job_id)
        assert (await edge.stub.CancelJob(cancel, metadata=edge.as_(CUSTOMER))).job_id == mine.job_id
