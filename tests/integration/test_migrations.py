"""The tables of the job store: made by revisions of one statement each, and the constraints they carry."""

import ast
import threading
from pathlib import Path

import pymysql
import pytest

from tests.support.servers import Mariadb
from tests.support.stores import migrated_database, open_mysql_store
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.store import migrations
from wpclone.core.store.migrate import heads, migrate
from wpclone.core.store.mysql import StoreMisconfigured

TABLES = {
    "alembic_version",
    "claims",
    "clones",
    "customers",
    "job_steps",
    "jobs",
    "kept_sets",
    "requests",
    "site_locks",
    "tokens",
}
REVISIONS = sorted((Path(migrations.__file__).parent / "versions").glob("0*.py"))


def tables(mariadb: Mariadb, database: str) -> set[str]:
    return {row[0] for row in mariadb.execute("SHOW TABLES", database=database)}


def test_migrating_makes_all_tables_and_again_changes_nothing(mariadb_server: Mariadb, database: str) -> None:
    migrate(mariadb_server.url(database))
    assert tables(mariadb_server, database) == TABLES
    migrate(mariadb_server.url(database))
    assert mariadb_server.execute("SELECT version_num FROM alembic_version", database=database) == [(migrations.HEAD,)]
    assert heads() == (migrations.HEAD,)


def test_four_migrations_at_once_take_turns(mariadb_server: Mariadb, database: str) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            migrate(mariadb_server.url(database))
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert tables(mariadb_server, database) == TABLES


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_is_one_statement(path: Path) -> None:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    (upgrade,) = [function for function in functions if function.name == "upgrade"]
    assert len(upgrade.body) == 1
    (text,) = [node.value for node in ast.walk(upgrade) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert ";" not in text


async def test_a_store_refuses_missing_and_older_tables_and_runs_on_newer_ones(mariadb_server: Mariadb, database: str) -> None:
    with pytest.raises(StoreMisconfigured, match="migrate"):
        await open_mysql_store(mariadb_server, database)
    migrate(mariadb_server.url(database), revision="0007")
    with pytest.raises(StoreMisconfigured, match="older"):
        await open_mysql_store(mariadb_server, database)
    migrate(mariadb_server.url(database))
    mariadb_server.execute("UPDATE alembic_version SET version_num = '0999'", database=database)
    await (await open_mysql_store(mariadb_server, database)).close()


def test_a_database_that_is_not_there_is_one_clear_error_without_the_password(mariadb_server: Mariadb) -> None:
    with pytest.raises(StoreUnavailable, match="Unknown database") as refusal:
        migrate(mariadb_server.url("nowhere"))
    assert mariadb_server.password not in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        "status = 'paused'", "kind = 'copy'", "progress = 101", "verdict = 'maybe'", "revision = 0", "status = 'completed'",
        "completed_at = UTC_TIMESTAMP(6)", "request = '{'", "priority = 'soon'",
        "status = 'completed', completed_at = UTC_TIMESTAMP(6), verdict = 'fail'",
        "status = 'completed', completed_at = UTC_TIMESTAMP(6), cancel_requested_at = UTC_TIMESTAMP(6)",
    ],
)  # fmt: skip
def test_the_database_itself_refuses_what_no_job_may_be(mariadb_server: Mariadb, change: str) -> None:
    with migrated_database(mariadb_server) as name:
        mariadb_server.execute(
            "INSERT INTO jobs (job_id, kind, status, customer_id, priority, revision, fence, enqueue_seq, definition_version,"
            " request, status_message, traceparent, created_at, updated_at, deadline_at, next_run_at, rung_until)"
            " VALUES ('clone-1', 'clone', 'pending', 'c', 'normal', 1, 0, 1, 1, '{}', '', '',"
            " UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            database=name,
        )
        with pytest.raises(pymysql.err.MySQLError):
            mariadb_server.execute(f"UPDATE jobs SET {change}", database=name)


def test_ids_are_compared_byte_for_byte(mariadb_server: Mariadb) -> None:
    with migrated_database(mariadb_server) as name:
        columns = mariadb_server.execute(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE table_schema = %s"
            " AND column_name IN ('job_id', 'clone_id', 'customer_id', 'resource_id', 'site_key', 'worker', 'retry_of')",
            name,
        )
    assert len(columns) >= 14
    assert {collation for _, _, collation in columns} == {"ascii_bin"}
