"""Connections to the clones' database that are cut while they are made: an outage, told as one."""

import secrets
from collections.abc import Iterator

import pytest

from tests.support.busy_loop import REFUSED, cut_everywhere
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers import Mariadb
from workers.clone_databases import CloneDatabases, DatabaseServer
from workers.outcomes import Failure, judge
from wpclone.core.jobs.errors import RetryLater
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.target import TargetDatabase, connected


@pytest.fixture
def proxy(mariadb_server: Mariadb) -> Iterator[FaultProxy]:
    with fault_proxy(mariadb_server.place.port) as made:
        yield made


def test_a_connection_for_copying_that_is_cut_anywhere_is_an_outage(mariadb_server: Mariadb, proxy: FaultProxy) -> None:
    database = TargetDatabase("root", mariadb_server.password, "mysql", "127.0.0.1", proxy.port)

    judged: list[Failure] = []

    async def asked() -> None:
        try:
            async with connected(database, binary=True) as connection:
                await connection.run(b"SELECT 1")
        except SiteError as error:
            judged.append(judge(error, step="copy_tables"))

    cut_everywhere(proxy, asked, greeting=120, handshake=700)
    assert [failure for failure in judged if failure.outage is None] == []
    assert len(judged) >= REFUSED


def test_a_connection_for_making_databases_that_is_cut_anywhere_is_an_outage(mariadb_server: Mariadb, proxy: FaultProxy) -> None:
    server = DatabaseServer("127.0.0.1", proxy.port, "root", mariadb_server.password)
    databases = CloneDatabases(server, user_host="127.0.0.1", randomness=secrets.token_bytes)

    judged: list[Failure] = []

    async def asked() -> None:
        try:
            await databases.names()
        except RetryLater as error:
            judged.append(judge(error, step="create_database"))

    cut_everywhere(proxy, asked, greeting=120, handshake=400)
    assert [failure for failure in judged if failure.outage is None] == []
    assert len(judged) >= REFUSED
