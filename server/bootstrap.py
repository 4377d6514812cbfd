"""The serving process from top to bottom: what it opens, in order, and how it ends."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from server.app import App, Rhythm, World
from server.translate import Lives
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.clock import SystemClock
from wpclone.core.metrics import Metrics, serve
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import ServerSettings
from wpclone.core.store.mysql import MysqlStore

_log = structlog.get_logger(__name__)


async def run(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT (then 0) or until NATS's client gives up for good (then 1).

    Raises KeyRingUnusable, StoreUnavailable, StoreMisconfigured; OSError or RuntimeError when a port is taken.
    """
    told, lost = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)

    def lose() -> None:
        lost.set()
        told.set()

    metrics = Metrics(CollectorRegistry())
    ProcessCollector(registry=metrics.registry)
    keys = KeyRing.from_file(settings.key_ring_file)
    async with AsyncExitStack() as stack:
        store = await MysqlStore.open(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool,
            timeout=settings.database_timeout,
            require_durable=settings.require_durable,
        )
        stack.push_async_callback(store.close)
        bus = await JetStreamBus.open(
            settings.nats_url.get_secret_value(), name="wpclone-server", closed=lose, anew=store.ring_all_again
        )
        stack.push_async_callback(bus.close)
        stack.callback(await asyncio.to_thread(serve, metrics.registry, settings.metrics_address))
        world = World(store, bus, keys, metrics, SystemClock(), os.urandom, random.random)
        lives = Lives(settings.min_ttl_minutes, settings.max_ttl_minutes, settings.default_ttl_minutes)
        app = App(world, lives=lives, runtime=settings.runtime, rhythm=Rhythm(), watches_each=settings.watches_each)
        await app.start(settings.grpc_address)
        stack.push_async_callback(app.drain, settings.drain_seconds)
        await told.wait()
    if lost.is_set():
        _log.error("bus.gave_up")
    return 1 if lost.is_set() else 0
