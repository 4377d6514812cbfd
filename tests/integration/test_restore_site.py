"""A restore from one real WordPress to another, at the level of the site: staged, exchanged, and back again."""

from collections.abc import Iterator

import pytest
from yarl import URL

from tests.support.restoring import CONTENT_TABLES, content, restoring
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from wpclone.wordpress.restore.health import check_health


@pytest.fixture(scope="module")
def target_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A site of its own to write to: tests put back what they change, or leave what they restored."""
    with running_source_site(
        mariadb_server, host="target.localhost", title="Production", posts=3, upload_bytes=1_000_000
    ) as target:
        yield target


async def _home(site: SourceSite) -> tuple[int, str]:
    async with site_session() as session:
        page = await session.fetch("GET", URL(site.url + "/"))
        return page.status, page.body.decode()


async def test_content_is_staged_exchanged_and_rolled_back(source_site: SourceSite, target_site: SourceSite) -> None:
    before = content(target_site)
    async with restoring(source_site, target_site) as restore:
        await restore.sealed()
        assert content(target_site) == before
        assert (await _home(target_site))[0] == 200
        marks = await restore.target.marks(CONTENT_TABLES)
        result = await restore.target.swap(expected=marks)
        assert (result.changed, result.state.state) == ((), "swapped")
        assert (await _home(target_site))[0] == 503
        async with site_session() as session:
            health = await check_health(session, restore.target_site, result.state)
        assert health.ok, health.findings
        await restore.target.go_live()
        status, page = await _home(target_site)
        assert status == 200
        assert "A sample of everything" in page
        assert source_site.url not in page
        assert content(target_site) != before
        assert await restore.target.changed_since_live() == []
        assert (await restore.target.rollback()).state == "rolled_back"
        assert content(target_site) == before
        assert (await _home(target_site))[0] == 200
