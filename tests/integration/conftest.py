"""Fixtures that need a running WordPress."""

from collections.abc import Iterator

import pytest

from tests.support.nasty_source import running_nasty_source
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site


@pytest.fixture(scope="session")
def source_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """One source for the session: tests read it, or put back what they change."""
    with running_source_site(mariadb_server) as source:
        yield source


@pytest.fixture(scope="session")
def nasty_source(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """The source with everything that breaks copies; tests only read it."""
    with running_nasty_source(mariadb_server) as source:
        yield source


@pytest.fixture(scope="module")
def target_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A site of its own to write to: tests put back what they change, or leave what they restored."""
    with running_source_site(
        mariadb_server, host="target.localhost", title="Production", posts=3, upload_bytes=1_000_000
    ) as target:
        yield target
