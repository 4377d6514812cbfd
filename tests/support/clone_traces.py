"""What a clone leaves, looked for wherever a clone ever was: databases, users, files, records, processes, firewall rules."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pymysql

from tests.support.installation import Installation

PROC = Path("/proc")


def sql(service: Installation, statement: str, *parameters: object, database: str | None = None) -> list[tuple[Any, ...]]:
    """Run a statement as root on the installation's own MariaDB."""
    connection = pymysql.connect(
        unix_socket=str(service.state.mariadb / "mariadb.sock"), user="root", database=database, autocommit=True,
        password=root_password(service), connect_timeout=5, read_timeout=30, write_timeout=30,
    )  # fmt: skip
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())
    finally:
        connection.close()


def root_password(service: Installation) -> str:
    return (service.state.directory / "mariadb.password").read_text().strip()


def database_of(clone_id: str) -> str:
    return clone_id.replace("clone-", "wpc_")


def clone_directories(service: Installation) -> list[Path]:
    """Whatever lies below the installation under a name with `clone-…` or `wpc_…` in it."""
    roots = (service.state.directory, Path("/run/wpclone"))
    paths = (Path(place) / name for root in roots for place, directories, files in os.walk(root) for name in directories + files)
    return [path for path in paths if "clone-" in path.name or "wpc_" in path.name]


def traces(service: Installation, clone_id: str) -> list[str]:
    """Everything left of one clone, in words; empty when there is nothing."""
    name = database_of(clone_id)
    databases = sql(service, "SELECT schema_name FROM information_schema.schemata WHERE schema_name = %s", name)
    users = sql(service, "SELECT user FROM mysql.global_priv WHERE user = %s", name)
    locks = sql(service, "SELECT job_id FROM site_locks WHERE job_id = %s", clone_id, database="wpclone")
    claims = sql(service, "SELECT job_id FROM claims WHERE job_id = %s", clone_id, database="wpclone")
    return [
        *(f"database {row[0]}" for row in databases),
        *(f"user {row[0]}" for row in users),
        *(f"site lock of {row[0]}" for row in locks),
        *(f"claim of {row[0]}" for row in claims),
        *(str(path) for path in clone_directories(service) if clone_id in path.name or name in path.name),
        *_processes(clone_id),
    ]


def nothing_left(service: Installation, clone_id: str) -> None:
    """Fail unless this clone has no database, user, lock, claim, directory, file or process any more."""
    assert traces(service, clone_id) == []


def no_clone_left(service: Installation) -> None:
    """Fail unless no clone at all has anything, down to the processes of the clones' uids and their firewall rules."""
    databases = sql(service, "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'wpc\\_%'")
    users = sql(service, "SELECT user FROM mysql.global_priv WHERE user LIKE 'wpc\\_%'")
    assert (databases, users, clone_directories(service)) == ([], [], [])
    if os.getuid() == 0:
        assert not _uids_alive() & set(service.state.clone_uids)
        table = ["nft", "list", "table", "inet", f"wpclone_{service.state.run}"]
        assert "tcp dport" not in subprocess.run(table, capture_output=True, text=True, check=False, timeout=20).stdout


def _processes(clone_id: str) -> list[str]:
    found = []
    for entry in PROC.glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = os.readlink(entry / "cwd")
        except OSError:
            continue
        if clone_id in place or (clone_id in words and "wpclone.cli" not in words):
            found.append(f"process {entry.name}: {words}")
    return found


def _uids_alive() -> set[int]:
    alive = set()
    for entry in PROC.glob("[0-9]*"):
        try:
            alive.add(entry.stat().st_uid)
        except OSError:
            continue
    return alive
