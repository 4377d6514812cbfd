"""The serving process, put together from a store, a bus and keys: its objects, its loops, its gRPC server, its drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from server.accept import Accept
from server.admission import Admission
from server.auth import Auth
from server.blocking import BlockingService
from server.estimates import Estimates
from server.health import Health
from server.interceptors import Edge
from server.measure import Measure
from server.restoring import Restoring
from server.ringer import Ringer
from server.service import CloneService, Parts
from server.showing import Showing
from server.sign_in import SignIn
from server.translate import Lives
from server.watch import Beat, Watches
from wpclone.core.bus import Bus
from wpclone.core.clock import Clock
from wpclone.core.ids import Randomness
from wpclone.core.jobs.retry import Chance
from wpclone.core.loop_delay import LoopDelay
from wpclone.core.metrics import Metrics
from wpclone.core.secrets import KeyRing
from wpclone.core.store import JobStore
from wpclone.core.supervise import Loop, Supervisor, end
from wpclone.v1 import clone_service_pb2 as v1
from wpclone.v1 import clone_service_pb2_grpc as v1_grpc
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc

_log = structlog.get_logger(__name__)

SERVICE: str = clone_service_pb2.DESCRIPTOR.services_by_name["CloneService"].full_name
BLOCKING_SERVICE: str = v1.DESCRIPTOR.services_by_name["CloneService"].full_name
SERVICES = (SERVICE, BLOCKING_SERVICE)

_add_health: Callable[[Health, grpc.aio.Server], Any] = health_pb2_grpc.add_HealthServicer_to_server
_enable_reflection: Callable[[tuple[str, ...], grpc.aio.Server], Any] = reflection.enable_server_reflection

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a coin toss
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The default answers a client that pings more than every 5 minutes with GOAWAY; watches need to ping.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)


WATCHES_EACH = 2000
"""Watches and waits that one customer may have open at one server."""


@dataclass(frozen=True)
class World:
    """What a process finds outside of itself."""

    store: JobStore
    bus: Bus
    keys: KeyRing
    metrics: Metrics
    clock: Clock
    randomness: Randomness
    chance: Chance


@dataclass(frozen=True)
class Rhythm:
    """How often loops run, in seconds."""

    reread: float = 5.0
    estimates: float = 60.0
    measure: float = 5.0
    beat: Beat = field(default_factory=Beat)


class App:
    """One serving process. `start`, then `drain`."""

    def __init__(self, world: World, *, lives: Lives, runtime: str, rhythm: Rhythm, watches_each: int = WATCHES_EACH) -> None:
        self._world = world
        self._rhythm = rhythm
        self._tasks: list[asyncio.Task[None]] = []
        self._supervisor = Supervisor(world.clock, world.chance)
        self._admission = Admission()
        self._estimates = Estimates(world.store, world.clock)
        self._ringer = Ringer(world.bus)
        self._watches = Watches(
            world.store, world.bus, world.metrics, chance=world.chance, beat=rhythm.beat, most_each=watches_each
        )
        self._health = Health(world.store, SERVICES)
        accept = Accept(world.store, self._ringer, world.keys, world.randomness, runtime)
        self._parts = Parts(
            store=world.store,
            auth=Auth(world.store, world.keys.token_hash, world.clock),
            accept=accept,
            restoring=Restoring(accept),
            watches=self._watches,
            showing=Showing(self._estimates, world.keys),
            sign_in=SignIn(world.keys, world.clock, world.randomness),
            lives=lives,
            clock=world.clock,
        )
        edge = Edge(
            ours=SERVICES, admission=self._admission, clock=world.clock, randomness=world.randomness, metrics=world.metrics
        )
        self._server = grpc.aio.server(interceptors=(edge,), options=OPTIONS)

    async def start(self, address: str) -> int:
        """Serve on `host:port`; returns the port. Raises RuntimeError when it is taken."""
        clone_service_pb2_grpc.add_CloneServiceServicer_to_server(CloneService(self._parts), self._server)
        v1_grpc.add_CloneServiceServicer_to_server(BlockingService(self._parts), self._server)
        _add_health(self._health, self._server)
        _enable_reflection((*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server)
        port = self._server.add_insecure_port(address)
        self._world.metrics.bus_connected.set_function(lambda: float(self._world.bus.is_connected))
        self._keep("loop delay", LoopDelay(self._world.clock, self._world.metrics).once, 0.0)
        self._keep("health", self._health.look, 1.0)
        self._keep("watch.listen", self._watches.listen, 0.2)
        self._keep("watch.reread", self._watches.reread, self._rhythm.reread)
        self._keep("ringer", self._ringer.once, 0.0)
        self._keep("estimates", self._estimates.refresh, self._rhythm.estimates)
        self._keep("measure", Measure(self._world.store, self._world.bus, self._world.metrics).once, self._rhythm.measure)
        await self._server.start()
        _log.info("server.serving", address=address, port=port)
        return port

    async def drain(self, grace: float) -> None:
        """Stop: unhealthy first, watchers sent on their way, then `grace` seconds for calls under way, then the loops."""
        _log.info("server.draining", grace=grace)
        self._health.drain()
        self._watches.drain()
        await self._server.stop(grace)
        await self._admission.settle(within=1.0)  # a call's cleanup may outlive stop(): the store must not be closed under it
        await end(*self._tasks)
        _log.info("server.stopped")

    def _keep(self, name: str, once: Callable[[], Awaitable[None]], every: float) -> None:
        self._tasks.append(asyncio.create_task(self._supervisor.keep(Loop(name, once, every)), name=name))
