import pymysql
import pytest

from tests.support.fault_proxy import Direction, FaultProxy, fault_proxy
from tests.support.servers import Mariadb


def _connect(server: Mariadb, proxy: FaultProxy) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host="127.0.0.1", port=proxy.port, user="root", password=server.password, read_timeout=1, connect_timeout=2
    )


def _ask(connection: "pymysql.connections.Connection[pymysql.cursors.Cursor]") -> object:
    with connection.cursor() as cursor:
        cursor.execute("SELECT REPEAT('x', 1000)")
        return cursor.fetchone()


def test_a_clear_proxy_passes_everything(mariadb_server: Mariadb) -> None:
    with fault_proxy(mariadb_server.place.port) as proxy:
        connection = _connect(mariadb_server, proxy)
        assert _ask(connection) == ("x" * 1000,)
        connection.close()


@pytest.mark.parametrize(
    "fault",
    [
        lambda proxy: proxy.faults.swallow.add(Direction.TO_CLIENT),
        lambda proxy: proxy.faults.swallow.add(Direction.TO_SERVER),
        lambda proxy: proxy.faults.cut_after.update({Direction.TO_CLIENT: 200}),
        lambda proxy: proxy.reset_all(),
    ],
    ids=["answers vanish", "questions vanish", "cut in the middle of an answer", "reset"],
)
def test_an_ordered_fault_reaches_the_client(mariadb_server: Mariadb, fault: object) -> None:
    with fault_proxy(mariadb_server.place.port) as proxy:
        connection = _connect(mariadb_server, proxy)
        assert callable(fault)
        fault(proxy)
        with pytest.raises(pymysql.err.OperationalError):
            _ask(connection)


def test_refused_connections_are_reset(mariadb_server: Mariadb) -> None:
    with fault_proxy(mariadb_server.place.port) as proxy:
        proxy.faults.refuse = True
        with pytest.raises(pymysql.err.OperationalError):
            _connect(mariadb_server, proxy)
