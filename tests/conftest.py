"""Fixtures that every tier shares: a clean environment and the real servers, one of each a session."""

import os
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from tests.support.places import remove_abandoned
from tests.support.schedule import OneProcessForTheCluster, order_of
from tests.support.servers import Mariadb, Nats, running_mariadb, running_nats


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith("WPCLONE_")]:
        del os.environ[name]
    remove_abandoned()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return OneProcessForTheCluster(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: order_of(item.nodeid))
    if os.getuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: uids and nftables"))


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Mariadb]:
    with running_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Nats]:
    with running_nats() as server:
        yield server


@pytest.fixture
def database(mariadb_server: Mariadb) -> Iterator[str]:
    """The name of a new empty database on the session's MariaDB."""
    with mariadb_server.database() as name:
        yield name
