from tests.support.servers import Mariadb, Nats, running_mariadb


def test_our_mariadb_has_root_with_a_password_and_no_other_account() -> None:
    with running_mariadb() as fresh:
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
