"""The kubernetes runtime on a fake API server, with real receivers: a clone's receiver starts when its Service is there."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.support.fake_cluster import NAMESPACE, FakeCluster, fake_cluster
from tests.support.places import free_port, open_directory
from tests.support.receivers import RunningReceiver, running_receiver
from workers.runtimes.cluster_api import ClusterApi, connect
from workers.runtimes.kubernetes import KubernetesParts, KubernetesRuntime
from workers.runtimes.manifests import CloneShape
from workers.runtimes.reflector import Bell, ReflectorParts
from wpclone.core.clock import Clock, SystemClock
from wpclone.core.metrics import Metrics

SHAPE = CloneShape(
    namespace=NAMESPACE, image="registry.example/clone@sha256:" + "0" * 64, host_suffix="localhost", scheme="http",
    public_port=80, route="gateway", gateway="gateway/clones", ingress_class="", worker_namespace="wpclone",
    database_host="10.1.2.3", database_port=3306, database_cidr="10.1.2.0/24",
    storage="10Gi", storage_class="", cpu_request="100m", cpu="1", memory_request="128Mi", memory="512Mi", setup_seconds=43200,
)  # fmt: skip


def key_of(clone_id: str) -> bytes:
    return clone_id.encode().ljust(32, b".")


def reflecting(api: ClusterApi, clock: Clock | None = None) -> ReflectorParts:
    """What reflectors share, with metrics of their own."""
    return ReflectorParts(
        api, NAMESPACE, Bell(), clock or SystemClock(), random.Random(1).random, Metrics(CollectorRegistry())
    )  # fmt: skip


@dataclass
class Bench:
    """The runtime, the API server it talks to, and the receivers it started."""

    runtime: KubernetesRuntime
    cluster: FakeCluster
    receivers: dict[str, RunningReceiver]
    metrics: Metrics


@asynccontextmanager
async def kubernetes_bench(*, patience: float = 20.0) -> AsyncIterator[Bench]:
    """A runtime with its reflectors running."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(open_directory("kubernetes"))
        cluster = await stack.enter_async_context(fake_cluster())
        api = await stack.enter_async_context(connect(cluster.kubeconfig(directory)))
        port = await stack.enter_async_context(_gateway())
        parts = reflecting(api)
        runtime = KubernetesRuntime(
            KubernetesParts(
                replace(SHAPE, public_port=port), parts, directory / "staging", "rejected", key_of, os.urandom, patience
            )
        )
        receivers: dict[str, RunningReceiver] = {}

        def start_receiver(plural: str, name: str, host: str) -> None:
            if plural == "services" and name.endswith("-receiver") and host:
                clone_id = name.removesuffix("-receiver")
                receivers[clone_id] = stack.enter_context(running_receiver(host, key_of(clone_id)))

        cluster.made = start_receiver
        async with running(runtime):
            yield Bench(runtime, cluster, receivers, parts.metrics)


@asynccontextmanager
async def running(runtime: KubernetesRuntime) -> AsyncIterator[None]:
    """The runtime's reflectors, until the end of the block."""
    tasks = [asyncio.ensure_future(loop.once()) for loop in runtime.loops()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _gateway() -> AsyncIterator[int]:
    """Answers as a gateway whose routes all lead somewhere."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="User-agent: *")

    app = web.Application()
    app.router.add_get("/robots.txt", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


def put_files(directory: Path, files: dict[str, bytes]) -> None:
    """Files below a directory."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
