"""Every store and every bus, one after the other, before the same judge."""

from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.support.buses import connected_bus
from tests.support.servers import Mariadb, Nats
from tests.support.stores import StoreBench, opened_store
from wpclone.core.bus import Bus
from wpclone.core.bus.memory import MemoryBus


@pytest.fixture(params=["memory", "mysql"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    kind = cast(str, request.param)
    mariadb = cast(Mariadb, request.getfixturevalue("mariadb_server")) if kind == "mysql" else None
    async with opened_store(kind, mariadb) as opened:
        yield opened


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    if request.param == "memory":
        yield MemoryBus()
        return
    server = cast(Nats, request.getfixturevalue("nats_server"))
    async with connected_bus(server) as opened:
        yield opened
