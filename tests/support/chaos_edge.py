"""The product's server as a process in front of a field: the real one, or one that dies on the way and comes back.

async with server_process(field) as server:
    async with server.client() as client: ...
"""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc

from server.admin import create_token
from tests.support.chaos import CUSTOMER, ROOT, Field
from tests.support.places import free_port
from wpclone.client import CloneClient, Patience, connect
from wpclone.core.jobs.job import Principal
from wpclone.core.secrets import KeyRing
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc, site_pb2

_LOGIN = site_pb2.AdminLogin(url="https://example.com/", username="admin", password="secret")


def clone_request(request_id: str = "") -> clone_service_pb2.CreateCloneRequest:
    return clone_service_pb2.CreateCloneRequest(request_id=request_id, source=site_pb2.SourceSite(admin_login=_LOGIN))


@dataclass
class ServerProcess:
    """A server: its ports, its process, and the token of the field's customer."""

    port: int
    metrics_port: int
    token: str
    process: "subprocess.Popen[bytes]"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    @property
    def rss(self) -> int:
        """Bytes of memory the process has now."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def watchers(self) -> int:
        """Watchers the process says it has."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20) as response:
            shown = response.read().decode()
        return int(float(next(line.split()[-1] for line in shown.splitlines() if line.startswith("clone_watchers "))))

    def client(
        self, *, port: int = 0, patience: Patience | None = None, timeout: timedelta = timedelta(seconds=60)
    ) -> CloneClient:
        """The library's client; another port leads it through a proxy."""
        return connect(f"127.0.0.1:{port or self.port}", self.token, timeout=timeout, patience=patience)


@asynccontextmanager
async def server_process(field: Field, *, module: str = "server") -> AsyncIterator[ServerProcess]:
    """A serving process of this module (`server` or `tests.support.dying_server`), killed with all its children afterwards."""
    key_ring = field.directory / f"keys-{free_port()}.json"
    keys = KeyRing.create(key_ring, os.urandom)
    token = await create_token(field.store, keys, Principal(CUSTOMER, is_admin=False), os.urandom)
    port, metrics_port = free_port(), free_port()
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PYTHONDONTWRITEBYTECODE": "1",
        "WPCLONE_DATABASE_URL": field.mariadb.url(field.database), "WPCLONE_NATS_URL": field.nats.url,
        "WPCLONE_KEY_RING_FILE": str(key_ring), "WPCLONE_GRPC_ADDRESS": f"127.0.0.1:{port}",
        "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{metrics_port}", "WPCLONE_DATABASE_POOL": "20",
    }  # fmt: skip
    with (field.directory / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=environ, cwd=ROOT, stdout=log, stderr=log, process_group=0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
        yield ServerProcess(port, metrics_port, token, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024), ("grpc.use_local_subchannel_pool", 1))
"""Channel options of a client that takes in next to nothing before its reader has read."""

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100))
"""Without it, channels of one process to one address share a connection, and its pauses."""


def stub_of(channel: grpc.aio.Channel) -> Any:
    return clone_service_pb2_grpc.CloneServiceStub(channel)
