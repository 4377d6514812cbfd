"""One installation and one source site for all acceptance tests of a session."""

from collections.abc import Iterator

import pytest

from tests.support.installation import Installation, installation
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site


@pytest.fixture(scope="session")
def service() -> Iterator[Installation]:
    """The whole service, up; a test that takes it down brings it up again."""
    with installation(WPCLONE_ALLOW_PRIVATE_SOURCES="true") as made:
        made.up()
        yield made
        made.down()


@pytest.fixture(scope="session")
def source(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A real WordPress to clone, with some megabytes of uploads."""
    with running_source_site(mariadb_server) as site:
        yield site
