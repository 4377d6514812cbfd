"""The real server in this process, on a memory store and bus: a channel to it, tokens, and hands on what is behind it.

async with serving() as edge:
    job = await edge.create()
"""

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry

from server.admin import create_token
from server.app import App, Rhythm, World
from server.translate import Lives
from server.watch import Beat
from wpclone.core.bus import subjects
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, Job, JobError, Limits, Principal, Step
from wpclone.core.jobs.states import CloneState, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange, Transition
from wpclone.core.jobs.view import event
from wpclone.core.metrics import Metrics
from wpclone.core.secrets import KeyRing
from wpclone.core.store.memory import MemoryStore
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc, site_pb2

LIVES = Lives(least=5, most=1440, default=60)
CUSTOMER, OTHER, OPERATOR = "acme", "globex", "operator"
PASSWORD = "correct horse battery staple"


def keys() -> KeyRing:
    return KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)


def clone_request(**fields: Any) -> clone_service_pb2.CreateCloneRequest:
    login = site_pb2.AdminLogin(url="https://example.com/blog", username="admin", password=PASSWORD)
    return clone_service_pb2.CreateCloneRequest(**{"source": site_pb2.SourceSite(admin_login=login), **fields})


@dataclass
class Edge:
    """A serving server and what is behind it."""

    app: App
    port: int
    store: MemoryStore
    bus: MemoryBus
    keys: KeyRing
    metrics: Metrics
    channel: grpc.aio.Channel
    tokens: dict[str, str]

    @property
    def stub(self) -> Any:
        """The raw stub; pass `metadata=edge.as_(CUSTOMER)`."""
        return clone_service_pb2_grpc.CloneServiceStub(self.channel)

    def as_(self, customer: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.tokens[customer]}"),)

    async def create(self, customer: str = CUSTOMER, **fields: Any) -> Any:
        return await self.stub.CreateClone(clone_request(**fields), metadata=self.as_(customer))

    async def claim(self, job_id: str) -> Claim:
        claim = await self.store.claim(job_id, worker="w1")
        assert claim is not None
        return claim

    async def apply(self, transition: Transition, *, tell: bool = True) -> Job:
        """What a worker does: commit, then tell; `tell=False` is a lost event."""
        job = await self.store.apply(transition)
        if tell:
            await self.bus.tell(subjects.event(job.job_id), event(job))
        return job


@asynccontextmanager
async def serving(*, rhythm: Rhythm | None = None, lives: Lives = LIVES, watches_each: int = 2000) -> AsyncIterator[Edge]:
    """A server with three customers: CUSTOMER, OTHER and OPERATOR, whose token is an administrator's."""
    store, bus, ring = MemoryStore(SystemClock()), MemoryBus(), keys()
    metrics = Metrics(CollectorRegistry())
    world = World(store, bus, ring, metrics, SystemClock(), os.urandom, random.random)
    app = App(world, lives=lives, runtime="local", rhythm=rhythm or Rhythm(), watches_each=watches_each)
    tokens = {}
    for name in (CUSTOMER, OTHER, OPERATOR):
        await store.create_customer(name, Limits())
        tokens[name] = await create_token(store, ring, Principal(name, is_admin=name == OPERATOR), os.urandom)
    port = await app.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Edge(app, port, store, bus, ring, metrics, channel, tokens)
    finally:
        store.fail_with(None)
        await app.drain(0)


def quick(*, first: float = 0.2, later: float = 0.2, reread: float = 5.0) -> Rhythm:
    """Heartbeats that a test can wait for."""
    return Rhythm(reread=reread, beat=Beat(first=first, later=later))


def reason(error: grpc.aio.AioRpcError) -> str:
    """The ErrorInfo's reason of a failed call."""
    return next((info.reason for info in details(error) if hasattr(info, "reason")), "")


def details(error: grpc.aio.AioRpcError) -> Sequence[Any]:
    """All details of a failed call, unpacked."""
    status = rpc_status.from_call(error)  # type: ignore[no-untyped-call]
    assert status is not None
    assert status.message == error.details()
    found = []
    for detail in status.details:
        message = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])()
        assert detail.Unpack(message)
        found.append(message)
    return found


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error of a unary call, or of a stream's first message."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    return caught.value


async def make_ready(edge: Edge, job_id: str) -> Job:
    """What a worker does at the end of a clone job."""
    claim = await edge.claim(job_id)
    change = CloneChange(CloneState.READY, url="http://clone.localhost:8000", admin_login="admin", starts_ttl=True)
    result = {
        "clone_url": "http://clone.localhost:8000", "username": "admin", "rows": 12, "files": 34, "bytes": 5_000_000_000,
        "copy_seconds": 1.5, "consistency": "SNAPSHOT", "egress": "rejected", "report": {"left_out_tables": ["wp_x"], "n": 1},
    }  # fmt: skip
    return await edge.apply(transitions.completed(claim, result=result, status_message="Clone ready", clone=change))


async def fail(edge: Edge, claim: Claim) -> Job:
    """What a worker does with a clone job whose source does not answer."""
    step = Step("preflight", 1, StepState.FAILED, attempts=1)
    error = JobError("The source does not answer.", "SOURCE_UNREACHABLE", "preflight", {"host": "example.com"})
    await edge.apply(transitions.condemned(claim, Verdict.FAIL, error, step, status_message="Undoing"))
    clone = CloneChange(CloneState.FAILED)
    return await edge.apply(transitions.failed(claim, clone=clone, needs_attention=False, status_message="Failed"))
