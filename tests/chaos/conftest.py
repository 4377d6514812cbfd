"""Servers that chaos tests may stop and wipe, apart from the session's others; and the table of what was found."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import chaos_table
from tests.support.chaos import Field, chaos_field
from tests.support.servers import Mariadb, Nats, running_mariadb, running_nats


@pytest.fixture(scope="session")
def target_mariadb() -> Iterator[Mariadb]:
    with running_mariadb() as server:
        yield server


@pytest.fixture
def broker() -> Iterator[Nats]:
    with running_nats() as server:
        yield server


@pytest.fixture
async def place(target_mariadb: Mariadb, broker: Nats) -> AsyncIterator[Field]:
    async with chaos_field(target_mariadb, broker) as field:
        yield field


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    chaos_table.write()
