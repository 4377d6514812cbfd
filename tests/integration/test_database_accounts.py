"""What the service's own MySQL accounts may do, and what they may not."""

from collections.abc import Iterator
from functools import partial

import pymysql
import pytest

from tests.support.servers import Mariadb
from tests.support.spaces import PASSWORDS as SPACES_PASSWORDS
from tests.support.spaces import table_spaces
from wpclone.standalone.database_accounts import CLONES_USER, JOBS_DATABASE, JOBS_USER, SPACES_USER, make_accounts
from wpclone.standalone.passwords import Passwords

PASSWORDS = Passwords(jobs="jobspassword", clones="clonespassword", nats="-", spaces="spacespassword")


@pytest.fixture
def accounts(mariadb_server: Mariadb) -> Iterator[Mariadb]:
    for _ in range(2):  # repeatable
        make_accounts(mariadb_server.place.socket, mariadb_server.password, PASSWORDS)
    yield mariadb_server
    for user in (JOBS_USER, CLONES_USER, "wpc_0123456789ab"):
        mariadb_server.execute(f"DROP USER IF EXISTS {user}@'127.0.0.1'")
    for database in (JOBS_DATABASE, "wpc_0123456789ab"):
        mariadb_server.execute(f"DROP DATABASE IF EXISTS {database}")


def _as(server: Mariadb, user: str, password: str, *statements: str) -> None:
    connection = pymysql.connect(host="127.0.0.1", port=server.place.port, user=user, password=password, autocommit=True)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def test_the_job_store_account_owns_its_schema_and_sees_no_other(accounts: Mariadb) -> None:
    _as(accounts, JOBS_USER, PASSWORDS.jobs, f"CREATE TABLE {JOBS_DATABASE}.t (a int)", f"DROP TABLE {JOBS_DATABASE}.t")
    for statement in ("SELECT * FROM mysql.global_priv", "CREATE DATABASE wpc_0123456789ab", "CREATE USER other@'127.0.0.1'"):
        with pytest.raises(pymysql.err.OperationalError):
            _as(accounts, JOBS_USER, PASSWORDS.jobs, statement)


def test_accounts_may_come_from_other_addresses(mariadb_server: Mariadb) -> None:
    make_accounts(mariadb_server.place.socket, mariadb_server.password, PASSWORDS, come_from="127.0.9.%")
    try:
        for user, password in ((JOBS_USER, PASSWORDS.jobs), (CLONES_USER, PASSWORDS.clones)):
            connect = partial(pymysql.connect, host="127.0.0.1", port=mariadb_server.place.port, user=user, password=password)
            connect(bind_address="127.0.9.7").close()
            with pytest.raises(pymysql.err.OperationalError):
                connect(bind_address="127.0.8.7")
    finally:
        for user in (JOBS_USER, CLONES_USER):
            mariadb_server.execute(f"DROP USER {user}@'127.0.9.%'")
        mariadb_server.execute(f"DROP DATABASE {JOBS_DATABASE}")


def test_the_clones_account_makes_and_removes_a_clones_database_and_user(accounts: Mariadb) -> None:
    _as(
        accounts, CLONES_USER, PASSWORDS.clones, "CREATE DATABASE wpc_0123456789ab",
        "CREATE USER wpc_0123456789ab@'127.0.0.1' IDENTIFIED BY 'clone'",
        "GRANT ALL PRIVILEGES ON `wpc\\_0123456789ab`.* TO wpc_0123456789ab@'127.0.0.1'",
    )  # fmt: skip
    _as(accounts, "wpc_0123456789ab", "clone", "CREATE TABLE wpc_0123456789ab.t (a int)")
    with pytest.raises(pymysql.err.OperationalError):
        _as(accounts, "wpc_0123456789ab", "clone", f"SELECT * FROM {JOBS_DATABASE}.alembic_version")
    _as(
        accounts, CLONES_USER, PASSWORDS.clones, "DROP DATABASE wpc_0123456789ab", "DROP USER wpc_0123456789ab@'127.0.0.1'"
    )  # fmt: skip


def test_the_clones_account_reads_no_jobs_and_makes_no_other_database(accounts: Mariadb) -> None:
    accounts.execute(f"CREATE TABLE {JOBS_DATABASE}.secrets (a int)")
    for statement in (f"SELECT * FROM {JOBS_DATABASE}.secrets", "CREATE DATABASE other", f"DROP DATABASE {JOBS_DATABASE}"):
        with pytest.raises(pymysql.err.OperationalError):
            _as(accounts, CLONES_USER, PASSWORDS.clones, statement)


def test_the_keepers_account_exports_tables_of_clones_and_writes_reads_and_makes_nothing_else(accounts: Mariadb) -> None:
    with table_spaces(accounts):
        accounts.execute("CREATE DATABASE wpc_0123456789ab")
        accounts.execute("CREATE TABLE wpc_0123456789ab.t (a int) ENGINE=InnoDB")
        allowed = ("FLUSH TABLES t FOR EXPORT", "UNLOCK TABLES", "ALTER TABLE t DISCARD TABLESPACE")
        _as_keeper(accounts, *allowed)
        for statement in (
            "INSERT INTO t VALUES (1)", "DROP TABLE t", "CREATE TABLE u (a int)", "SELECT * FROM mysql.global_priv",
            f"FLUSH TABLES {JOBS_DATABASE}.secrets FOR EXPORT", "CREATE USER other@localhost", "SELECT 1 INTO OUTFILE '/tmp/x'",
        ):  # fmt: skip
            with pytest.raises(pymysql.err.OperationalError):
                _as_keeper(accounts, statement)
        with pytest.raises(pymysql.err.OperationalError):  # by the socket alone
            _as(accounts, SPACES_USER, SPACES_PASSWORDS.spaces, "SELECT 1")


def _as_keeper(server: Mariadb, *statements: str) -> None:
    connection = pymysql.connect(
        unix_socket=str(server.place.socket), user=SPACES_USER, password=SPACES_PASSWORDS.spaces, database="wpc_0123456789ab"
    )
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()
