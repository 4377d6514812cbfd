"""Puts a worker together by hand, in order, on one exit stack."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from prometheus_client import CollectorRegistry, ProcessCollector

from workers.assembly import Parts, assemble
from workers.clone_databases import CloneDatabases, DatabaseServer
from workers.clone_plan import CloneTools, clone_plans
from workers.clone_records import CloneRecords
from workers.delete_plan import delete_plan
from workers.failpoints import Failpoints
from workers.maintenance.orphans import Findings, look
from workers.maintenance.schedule import schedule
from workers.neighbours import Neighbours
from workers.opening import opened
from workers.pages import Pages
from workers.plans import Plans
from workers.restore_plan import RestoreTools, restore_plans
from workers.restore_sites import RestoreSites
from workers.runtimes import Runtime
from workers.runtimes.cluster_api import ConfigurationWrong, connect
from workers.runtimes.kubernetes import KubernetesParts, KubernetesRuntime
from workers.runtimes.local import LocalRuntime
from workers.runtimes.manifests import CloneShape
from workers.runtimes.reflector import Bell, ReflectorParts
from workers.sources import Sources
from workers.steps.guard import GuardRoom
from workers.steps.preflight import Room, free_bytes
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.clock import Clock, SystemClock
from wpclone.core.ids import worker_name
from wpclone.core.metrics import Metrics, serve
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import KubernetesSettings, SettingsWrong, WorkerSettings, read
from wpclone.core.store.mysql import MysqlStore
from wpclone.core.store.renewal import RenewalLine
from wpclone.core.supervise import Loop
from wpclone.wordpress.address import AddressPolicy


async def work(settings: WorkerSettings, stop: asyncio.Event, *, failpoint: str = "") -> None:
    """Work until `stop`, then drain. Raises StoreUnavailable, StoreMisconfigured, SettingsWrong, OSError when it cannot begin."""
    clock, metrics, random_source = SystemClock(), Metrics(CollectorRegistry()), random.SystemRandom()
    ProcessCollector(registry=metrics.registry)
    keys = KeyRing.from_file(settings.key_ring_file)
    name = settings.worker_name or worker_name(socket.gethostname(), os.getpid(), os.urandom)
    database_url = settings.database_url.get_secret_value()
    databases = CloneDatabases(
        DatabaseServer.of(settings.clones_database_url.get_secret_value()), user_host=settings.clones_user_host,
        randomness=os.urandom,
    )  # fmt: skip
    policy = AddressPolicy(settings.allow_private_sources, frozenset(settings.allow_source_hosts))
    settings.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        runtime, reflecting = await stack.enter_async_context(_runtime(settings, keys, clock, metrics))
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
        records = CloneRecords(store, keys)
        neighbours = Neighbours(records, runtime) if isinstance(runtime, LocalRuntime) else None
        tools = CloneTools(
            Sources(policy, time.time, random_source, neighbours, settings.agent_slug), databases,
            GuardRoom(runtime, records, clock.now),
            Room(settings.work_dir, settings.max_site_bytes, free_bytes), Pages(), settings.work_dir,
        )  # fmt: skip
        restoring = RestoreTools(
            RestoreSites(tools.sources, records), databases, tools.room, timedelta(hours=settings.rollback_hours)
        )
        deleting = delete_plan(runtime, databases, settings.work_dir)
        plans = Plans([*clone_plans(tools), *restore_plans(restoring), deleting])
        parts = Parts(
            name, settings.worker_slots, store, bus, RenewalLine(database_url), plans, keys, clock, random_source.random, metrics,
            Failpoints(failpoint), lambda: time.clock_gettime(time.CLOCK_BOOTTIME), os._exit,
        )  # fmt: skip
        loops = [*schedule(store, runtime, databases, metrics, os.urandom, keys, settings.sweep), *reflecting]
        stack.callback(serve(metrics.registry, settings.metrics_address))
        await assemble(parts, loops).run(stop, grace=settings.drain_seconds)


async def orphans(settings: WorkerSettings) -> Findings:
    """One look at what a sweep would find; changes nothing, and needs no NATS. Raises what `work` raises, and StepOutcome."""
    clock, keys = SystemClock(), KeyRing.from_file(settings.key_ring_file)
    server = DatabaseServer.of(settings.clones_database_url.get_secret_value())
    databases = CloneDatabases(server, user_host=settings.clones_user_host, randomness=os.urandom)
    async with AsyncExitStack() as stack:
        runtime, _ = await stack.enter_async_context(_runtime(settings, keys, clock, Metrics(CollectorRegistry())))
        store = await MysqlStore.open(
            settings.database_url.get_secret_value(), pool_size=1, timeout=settings.database_timeout,
            require_durable=settings.require_durable,
        )  # fmt: skip
        stack.push_async_callback(store.close)
        return await look(store, runtime, databases)


@asynccontextmanager
async def _runtime(
    settings: WorkerSettings, keys: KeyRing, clock: Clock, metrics: Metrics
) -> AsyncIterator[tuple[Runtime, list[Loop]]]:
    """Where clones live, and the loops it needs. Raises SettingsWrong."""
    if settings.runtime == "local":
        if settings.keeper_socket is None:
            raise SettingsWrong("WPCLONE_KEEPER_SOCKET is needed by WPCLONE_RUNTIME=local")
        yield LocalRuntime(settings.keeper_socket), []
        return
    wanted = read(KubernetesSettings)
    async with AsyncExitStack() as stack:
        try:
            api = await stack.enter_async_context(connect(wanted.kubeconfig))
        except ConfigurationWrong as error:
            raise SettingsWrong(f"WPCLONE_KUBERNETES_KUBECONFIG: no usable cluster: {error}") from error
        shape = _shape(wanted, DatabaseServer.of(settings.clones_database_url.get_secret_value()))
        runtime = KubernetesRuntime(
            KubernetesParts(
                shape, ReflectorParts(api, wanted.namespace, Bell(), clock, random.SystemRandom().random, metrics),
                settings.work_dir / "staging",
                "rejected" if wanted.enforces_network_policy else "filtered in WordPress only",
                keys.receiver_key, os.urandom, wanted.pod_seconds,
            )
        )  # fmt: skip
        lacking = await runtime.lacking()
        if lacking:
            raise SettingsWrong(f"WPCLONE_KUBERNETES_NAMESPACE={wanted.namespace}: {lacking}")
        yield runtime, runtime.loops()


def _shape(wanted: KubernetesSettings, database: DatabaseServer) -> CloneShape:
    return CloneShape(
        namespace=wanted.namespace,
        image=wanted.image,
        host_suffix=wanted.host_suffix,
        scheme=wanted.scheme,
        public_port=wanted.public_port,
        route=wanted.route,
        gateway=wanted.gateway,
        ingress_class=wanted.ingress_class,
        worker_namespace=wanted.worker_namespace,
        database_host=wanted.database_host or database.host,
        database_port=database.port,
        database_cidr=wanted.database_cidr,
        storage=wanted.storage,
        storage_class=wanted.storage_class,
        cpu_request=wanted.cpu_request,
        cpu=wanted.cpu,
        memory_request=wanted.memory_request,
        memory=wanted.memory,
        setup_seconds=wanted.setup_seconds,
    )
