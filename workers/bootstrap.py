"""Puts a worker together by hand, in order, on one exit stack."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from contextlib import AsyncExitStack

from prometheus_client import CollectorRegistry

from workers.assembly import Parts, assemble
from workers.clone_databases import CloneDatabases, DatabaseServer
from workers.clone_plan import CloneTools, clone_plans
from workers.delete_plan import delete_plan
from workers.failpoints import Failpoints
from workers.maintenance.schedule import schedule
from workers.opening import opened
from workers.pages import Pages
from workers.plans import Plans
from workers.runtimes.local import LocalRuntime
from workers.sources import Sources
from workers.steps.guard import GuardRoom
from workers.steps.preflight import Room, free_bytes
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.clock import SystemClock
from wpclone.core.ids import worker_name
from wpclone.core.metrics import Metrics, serve
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import SettingsWrong, WorkerSettings
from wpclone.core.store.mysql import MysqlStore
from wpclone.core.store.renewal import RenewalLine
from wpclone.wordpress.address import AddressPolicy


async def work(settings: WorkerSettings, stop: asyncio.Event, *, failpoint: str = "") -> None:
    """Work until `stop`, then drain. Raises StoreUnavailable, StoreMisconfigured, SettingsWrong, OSError when it cannot begin."""
    if settings.runtime != "local" or settings.keeper_socket is None:
        raise SettingsWrong("WPCLONE_RUNTIME: this version runs clones on the local runtime only")
    clock, metrics, random_source = SystemClock(), Metrics(CollectorRegistry()), random.SystemRandom()
    keys = KeyRing.from_file(settings.key_ring_file)
    name = settings.worker_name or worker_name(socket.gethostname(), os.getpid(), os.urandom)
    database_url = settings.database_url.get_secret_value()
    databases = CloneDatabases(
        DatabaseServer.of(settings.clones_database_url.get_secret_value()), user_host="127.0.0.1", randomness=os.urandom
    )
    runtime = LocalRuntime(settings.keeper_socket)
    policy = AddressPolicy(settings.allow_private_sources, frozenset(settings.allow_source_hosts))
    settings.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        store = await opened(
            lambda: MysqlStore.open(
                database_url, pool_size=settings.database_pool, timeout=settings.database_timeout,
                require_durable=settings.require_durable,
            ),
            clock,
        )  # fmt: skip
        stack.push_async_callback(store.close)
        bus = await JetStreamBus.open(settings.nats_url.get_secret_value(), name=name, closed=stop.set, anew=store.ring_all_again)
        stack.push_async_callback(bus.close)
        tools = CloneTools(
            Sources(policy, time.time, random_source), databases, GuardRoom(runtime, store, keys, clock.now),
            Room(settings.work_dir, settings.max_site_bytes, free_bytes), Pages(), settings.work_dir,
        )  # fmt: skip
        plans = Plans([*clone_plans(tools), delete_plan(runtime, databases, settings.work_dir)])
        parts = Parts(
            name, settings.worker_slots, store, bus, RenewalLine(database_url), plans, keys, clock, random_source.random, metrics,
            Failpoints(failpoint), lambda: time.clock_gettime(time.CLOCK_BOOTTIME), os._exit,
        )  # fmt: skip
        loops = schedule(store, runtime, databases, metrics, os.urandom)
        stack.callback(serve(metrics.registry, settings.metrics_address))
        await assemble(parts, loops).run(stop, grace=settings.drain_seconds)
