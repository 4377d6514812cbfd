"""Accepting and running: requests a second at 20 clients, jobs a second with empty steps, the time to a watcher.

The real server and two real workers, on a MariaDB that syncs each commit and a nats-server that syncs each message. Steps are
empty, so what is measured is the cost of recording them.
"""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import grpc

from server.admin import create_token
from tests.support.chaos import CUSTOMER, Field, chaos_field
from tests.support.history import part
from tests.support.places import free_port
from tests.support.servers import running_mariadb, running_nats
from tests.support.wait import until_async
from wpclone.core.jobs.job import Principal
from wpclone.core.secrets import KeyRing
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc, site_pb2

CLIENTS = 20


async def measure(jobs: int) -> dict[str, float]:
    """Accept and run this many jobs; figures by name, times in milliseconds, rates a second."""
    with running_mariadb() as mariadb, running_nats() as nats:
        async with chaos_field(mariadb, nats, history=False) as field:
            key_ring = field.directory / "keys.json"
            keys = KeyRing.create(key_ring, os.urandom)
            token = await create_token(field.store, keys, Principal(CUSTOMER, is_admin=False), os.urandom)
            port = free_port()
            server = _server(field, key_ring, port)
            try:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    await asyncio.wait_for(channel.channel_ready(), 30)
                    return await _drive(field, channel, token, jobs)
            finally:
                server.terminate()
                server.wait(30)


def _server(field: Field, key_ring: Path, port: int) -> "subprocess.Popen[bytes]":
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{field.source}:{field.source / 'gen'}",
        "WPCLONE_DATABASE_URL": field.mariadb.url(field.database), "WPCLONE_NATS_URL": field.nats.url,
        "WPCLONE_KEY_RING_FILE": str(key_ring), "WPCLONE_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}", "WPCLONE_DATABASE_POOL": "20",
    }  # fmt: skip
    with (field.directory / "server.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "server"], env=environ, cwd=field.source, stdout=log, stderr=log)


async def _drive(field: Field, channel: grpc.aio.Channel, token: str, jobs: int) -> dict[str, float]:
    stub: Any = clone_service_pb2_grpc.CloneServiceStub(channel)
    metadata = (("authorization", f"Bearer {token}"),)
    login = site_pb2.AdminLogin(url="https://example.com/", username="admin", password="secret")
    request = clone_service_pb2.CreateCloneRequest(source=site_pb2.SourceSite(admin_login=login))

    async def accept(count: int) -> list[float]:
        took = []
        for _ in range(count):
            begun = time.perf_counter()
            await stub.CreateClone(request, metadata=metadata, timeout=30)
            took.append((time.perf_counter() - begun) * 1000)
        return took

    await asyncio.gather(*(accept(5) for _ in range(CLIENTS)))
    begun = time.perf_counter()
    took = sorted(chain.from_iterable(await asyncio.gather(*(accept(jobs // CLIENTS) for _ in range(CLIENTS)))))
    accepting = time.perf_counter() - begun
    waiting = field.count("SELECT COUNT(*) FROM jobs WHERE status = 'pending'")
    for _ in range(2):
        field.start(slots=16, empty=True)
    await _until(field, waiting - 1, 60)
    begun, left = time.perf_counter(), field.count("SELECT COUNT(*) FROM jobs WHERE status = 'pending'")
    await _until(field, 0, 300)
    running = time.perf_counter() - begun
    news = sorted([await _news(stub, metadata, request, field) for _ in range(50)])
    return {
        "accept_per_second": len(took) / accepting, "accept_p50_ms": part(took, 0.5), "accept_p99_ms": part(took, 0.99),
        "jobs_per_second": left / running, "done_to_watcher_p50_ms": part(news, 0.5), "done_to_watcher_p99_ms": part(news, 0.99),
    }  # fmt: skip


async def _news(stub: Any, metadata: Any, request: Any, field: Field) -> float:
    """Milliseconds from the time a job's last change was written to its watcher having it."""
    job = await stub.CreateClone(request, metadata=metadata, timeout=30)
    seen, last = 0.0, job
    with suppress(grpc.aio.AioRpcError):
        async for answer in stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job.job_id), metadata=metadata, timeout=60):
            seen, last = time.time(), answer.job
    written = field.rows(
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', completed_at) / 1e6 FROM jobs WHERE job_id = %s", last.job_id
    )
    return max(0.0, (seen - float(written[0][0])) * 1000)


async def _until(field: Field, most: int, seconds: float) -> None:
    async def are_few() -> bool:
        return await asyncio.to_thread(field.count, "SELECT COUNT(*) FROM jobs WHERE completed_at IS NULL") <= most

    await until_async(are_few, within=seconds, every=0.02)
