import os
from collections.abc import Iterator

import pymysql
import pytest

from tests.support.hosting import new_clone_id
from tests.support.servers import Mariadb
from workers.clone_databases import CloneDatabases, DatabaseServer, database_name
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.standalone.database_accounts import CLONES_USER, clones_url, make_accounts
from wpclone.standalone.passwords import Passwords


@pytest.fixture(scope="module")
def clones_account(mariadb_server: Mariadb) -> Iterator[str]:
    """The URL of the account that the service has, with its few rights."""
    values = {name: name * 4 for name in Passwords.__dataclass_fields__}
    passwords = Passwords(**values)
    make_accounts(mariadb_server.place.socket, mariadb_server.password, passwords)
    yield clones_url(mariadb_server.place.port, passwords)
    mariadb_server.execute(f"DROP USER {CLONES_USER}@'127.0.0.1'")


@pytest.fixture
def databases(clones_account: str) -> CloneDatabases:
    return CloneDatabases(DatabaseServer.of(clones_account), user_host="127.0.0.1", randomness=os.urandom)


def sign_in(server: Mariadb, name: str, password: str, database: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(host="127.0.0.1", port=server.place.port, user=name, password=password, database=database)


async def test_timestamps_are_read_as_utc_whatever_the_servers_zone(databases: CloneDatabases) -> None:
    async with databases.connection() as cursor:
        await cursor.execute("SELECT @@session.time_zone")
        assert await cursor.fetchone() == ("+00:00",)


async def test_a_clones_user_works_in_its_own_database_and_in_no_other(
    databases: CloneDatabases, mariadb_server: Mariadb
) -> None:
    mine, other = new_clone_id(), new_clone_id()
    name = await databases.create(mine, "first")
    assert await databases.create(mine, "second") == name == database_name(mine)
    await databases.create(other, "another")
    connection = sign_in(mariadb_server, name, "second", name)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE posts (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO posts VALUES (1), (2)")
        connection.commit()
        for forbidden in (f"USE {database_name(other)}", "USE mysql", "CREATE DATABASE wpc_elsewhere", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1"):  # fmt: skip  # noqa: E501
            with pytest.raises(pymysql.err.MySQLError):
                cursor.execute(forbidden)
    connection.close()
    assert await databases.count_rows(mine, ["posts", "nowhere"]) == {"posts": 2}
    assert {database_name(mine), database_name(other)} <= set(await databases.names())
    for clone_id in (mine, other):
        await databases.drop(clone_id)


async def test_dropping_removes_user_and_database_even_under_an_open_transaction(
    databases: CloneDatabases, mariadb_server: Mariadb
) -> None:
    clone_id = new_clone_id()
    name = await databases.create(clone_id, "secret")
    stopped = sign_in(mariadb_server, name, "secret", name)
    with stopped.cursor() as cursor:
        cursor.execute("CREATE TABLE posts (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO posts VALUES (1)")
    for _ in range(2):
        await databases.drop(clone_id)
    stopped.close()
    assert mariadb_server.execute("SELECT User FROM mysql.global_priv WHERE User = %s", name) == []
    assert mariadb_server.execute("SHOW DATABASES LIKE %s", name.replace("_", r"\_")) == []


async def test_a_server_that_is_away_is_worth_a_retry_and_a_refused_account_is_not(clones_account: str) -> None:
    away = DatabaseServer("127.0.0.1", 1, "nobody", "")
    with pytest.raises(RetryLater):
        await CloneDatabases(away, user_host="%", randomness=os.urandom).create(new_clone_id(), "p")
    server = DatabaseServer.of(clones_account)
    wrong = DatabaseServer(server.host, server.port, server.user, "wrong")
    with pytest.raises(Fatal):
        await CloneDatabases(wrong, user_host="%", randomness=os.urandom).create(new_clone_id(), "p")


def test_an_address_without_a_user_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="WPCLONE_CLONES_DATABASE_URL") as raised:
        DatabaseServer.of("mysql://:hunter2@/")
    assert "hunter2" not in str(raised.value)
