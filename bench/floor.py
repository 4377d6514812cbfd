"""What accepting costs at least on this machine: a gRPC server that writes each request into one row and sends it back.

No interceptor, no sign-in, no check, one statement: the same grpc.aio, event loop, driver, pool, MariaDB, clients and size of
request as accepting has. Its rate is the ceiling of any server of that kind here; bench/jobs shows accepting beside it.

    async with floor(mariadb) as echo: await echo(request)
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import uvloop

from server.app import OPTIONS
from tests.support.chaos import ROOT
from tests.support.places import free_port
from tests.support.servers import Mariadb
from wpclone.core.store.mysql.database import Database

_METHOD = "/bench.Floor/Echo"
_POOL = 20  # the served process of bench/jobs has as many connections
_TABLE = "CREATE TABLE requests (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, request BLOB NOT NULL) ENGINE=InnoDB"


@contextlib.asynccontextmanager
async def floor(mariadb: Mariadb) -> AsyncIterator[Callable[[bytes], Awaitable[bytes]]]:
    """A serving process with a database of its own; the call that it answers."""
    with mariadb.database() as name:
        mariadb.execute(_TABLE, database=name)
        port = free_port()
        process = _process(mariadb.url(name), str(port))
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await asyncio.wait_for(channel.channel_ready(), 60)
                call: Any = channel.unary_unary(_METHOD)
                yield call
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _process(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "bench.floor", *arguments], cwd=ROOT, process_group=0)


async def _serve(url: str, port: str) -> None:
    database = Database(url, pool_size=_POOL, timeout=10, chance=random.random)

    async def echo(request: bytes, _context: object) -> bytes:
        await database.read("INSERT INTO requests (request) VALUES (%(request)s)", request=request)
        return request

    methods: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Floor", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
