"""Every store and every bus, one after the other, before the same judge."""

from collections.abc import AsyncIterator
from typing import cast

import pytest

from tests.support.servers import Mariadb
from tests.support.stores import StoreBench, opened_store


@pytest.fixture(params=["memory", "mysql"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    kind = cast(str, request.param)
    mariadb = cast(Mariadb, request.getfixturevalue("mariadb_server")) if kind == "mysql" else None
    async with opened_store(kind, mariadb) as opened:
        yield opened
