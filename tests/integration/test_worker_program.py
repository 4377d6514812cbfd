"""`python -m workers` as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosting import new_clone_id, running_keeper
from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Mariadb, Nats
from tests.support.stores import accepted_clone, migrated_database, open_mysql_store
from tests.support.wait import until
from workers.clone_databases import CloneDatabases, DatabaseServer, database_name
from wpclone.core.jobs.states import CloneState
from wpclone.core.secrets import KeyRing
from wpclone.standalone.http_probe import status_of

ROOT = Path(__file__).parents[2]


@contextmanager
def settings(mariadb: Mariadb, nats: Nats) -> Iterator[dict[str, str]]:
    with open_directory("worker") as place, migrated_database(mariadb) as database:
        SERVICE.own(place)
        ring = place / "keys.json"
        KeyRing.create(ring, os.urandom)
        SERVICE.own(ring)
        yield {
            "WPCLONE_DATABASE_URL": mariadb.url(database), "WPCLONE_NATS_URL": nats.url, "WPCLONE_KEY_RING_FILE": str(ring),
            "WPCLONE_KEEPER_SOCKET": str(place / "keeper.sock"), "WPCLONE_WORK_DIR": str(place / "work"),
            "WPCLONE_CLONES_DATABASE_URL": f"mysql://root:{mariadb.password}@127.0.0.1:{mariadb.place.port}/",
            "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}", "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        }  # fmt: skip


def start(env: dict[str, str]) -> "subprocess.Popen[str]":
    identity: dict[str, Any] = {"user": SERVICE.uid, "group": SERVICE.gid, "extra_groups": []} if os.getuid() == 0 else {}
    return subprocess.Popen(
        [sys.executable, "-m", "workers"], env=env, cwd="/", stderr=subprocess.PIPE, text=True, **identity
    )  # fmt: skip


def test_a_worker_shows_its_metrics_and_exits_cleanly_when_told(mariadb_server: Mariadb, nats_server: Nats) -> None:
    with settings(mariadb_server, nats_server) as env, start(env) as worker:
        port = int(env["WPCLONE_METRICS_ADDRESS"].rpartition(":")[2])
        try:
            until(lambda: mariadb_server.loop.run(status_of(port, "127.0.0.1", "/metrics", within=1)) == 200, within=20)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(10) == 0
        finally:
            worker.kill()
            said = worker.stderr.read() if worker.stderr else ""
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert "worker.drained" in events
    assert mariadb_server.password not in said


@pytest.mark.parametrize(("wrong", "told"), [
    ({"WPCLONE_DATABASE_URL": "mysql+aiomysql://u:hunter2@127.0.0.1:9/none"}, "job store does not answer"),
    ({"WPCLONE_WORK_DIR": None, "WPCLONE_NATS_URL": "http://hunter2@nowhere"}, "WPCLONE_WORK_DIR"),
    ({"WPCLONE_CLONES_DATABASE_URL": "hunter2"}, "WPCLONE_CLONES_DATABASE_URL"),
    ({"WPCLONE_KEY_RING_FILE": "/nowhere/hunter2"}, "key ring"),
])  # fmt: skip
def test_a_worker_that_cannot_begin_says_why_and_exits_with_three(
    mariadb_server: Mariadb, nats_server: Nats, wrong: dict[str, str | None], told: str
) -> None:
    with settings(mariadb_server, nats_server) as env:
        merged = {name: value for name, value in {**env, **wrong}.items() if value is not None}
        with start(merged) as worker:
            try:
                assert worker.wait(40) == 3
            finally:
                worker.kill()
                said = worker.stderr.read() if worker.stderr else ""
    assert told.casefold() in said.casefold()
    assert "hunter2" not in said.replace("/nowhere/hunter2", "")


async def test_the_sweeps_dry_run_tells_what_it_would_remove_and_removes_nothing(
    mariadb_server: Mariadb, nats_server: Nats
) -> None:
    """A clone's row is the intent record: it is there before any worker can make the database, and outlives every failure."""
    with running_keeper(mariadb_server.place.port) as keeper, settings(mariadb_server, nats_server) as env:
        store = await open_mysql_store(mariadb_server, env["WPCLONE_DATABASE_URL"].rpartition("/")[2])
        server = DatabaseServer.of(env["WPCLONE_CLONES_DATABASE_URL"])
        databases = CloneDatabases(server, user_host="127.0.0.1", randomness=os.urandom)
        known, unknown = (await accepted_clone(store)).job_id, new_clone_id()
        try:
            clone = await store.get_clone(known)
            assert clone is not None
            assert clone.state is CloneState.CREATING
            for clone_id in (known, unknown):
                await databases.create(clone_id, "played")
            keeper.ask("create", clone_id=known)
            assert known not in told(env | {"WPCLONE_KEEPER_SOCKET": str(keeper.place.socket)})
            await store.request_cancel(known)
            lines = told(env | {"WPCLONE_KEEPER_SOCKET": str(keeper.place.socket)})
            found = {"has_place": True, "has_database": True}
            assert lines[known] == {"record": "failed", "is_known": True, "would": "remove", **found}
            assert lines[unknown] == {"record": "none", "is_known": False, "would": "report", **found, "has_place": False}
            assert {database_name(known), database_name(unknown)} <= set(await databases.names())
        finally:
            for clone_id in (known, unknown):
                await databases.drop(clone_id)
            await store.close()


def told(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What `python -m workers orphans` prints, by what it is about."""
    result = subprocess.run(
        [sys.executable, "-m", "workers", "orphans"], env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return {line.pop("of"): line for line in map(json.loads, result.stdout.splitlines())}
