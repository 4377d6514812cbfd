import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Mariadb, Nats, running_mariadb
from tests.support.wait import until, until_async
from wpclone.standalone import mariadb
from wpclone.standalone.mariadb import MariadbPlace


def test_our_mariadb_listens_where_it_is_told_and_has_root_with_a_password_and_no_other_account() -> None:
    with running_mariadb("127.0.0.1", "127.0.0.2") as fresh:
        socket.create_connection(("127.0.0.2", fresh.place.port), timeout=10).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.3", fresh.place.port), timeout=10)
        accounts = fresh.execute("SELECT User, Host, JSON_VALUE(Priv, '$.plugin') FROM mysql.global_priv ORDER BY 1, 2")
    assert [row for row in accounts if row[0] != "mariadb.sys"] == [
        ("root", "127.0.0.1", "mysql_native_password"),
        ("root", "localhost", "mysql_native_password"),
    ]


def test_our_mariadb_and_nats_come_back_after_a_stop(mariadb_server: Mariadb, nats_server: Nats) -> None:
    mariadb_server.stop()
    mariadb_server.start()
    assert mariadb_server.execute("SELECT 1") == [(1,)]
    nats_server.stop()
    nats_server.start()
    assert nats_server.child.exit_code is None


def _running_with(argument: str) -> list[str]:
    """Command lines of processes that have this among their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        found += [" ".join(words)] if argument in words else []
    return found


async def test_a_first_start_that_is_cut_leaves_no_process_and_no_password() -> None:
    with open_directory("cut-start") as directory:
        place = MariadbPlace(directory / "mariadb", free_port(), SERVICE)
        datadir = f"--datadir={place.data}"

        async def is_installing() -> bool:
            return bool(_running_with(datadir))

        preparing = asyncio.create_task(mariadb.prepare(place))
        await until_async(is_installing, within=60)
        preparing.cancel()
        await asyncio.wait([preparing])
        assert [line for line in _running_with(datadir) if "mariadb-install-db" in line] == []
        until(lambda: not _running_with(datadir), within=20)  # what it had started was killed, too, and is nobody's to wait for
        assert not place.password_file.exists()
