"""A Bedrock site: found, described, signed in to and cloned."""

import asyncio
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.test_clone_plan import Yard, admin
from tests.support.bedrock_source import running_bedrock_source
from tests.support.hosting import fetch, running_keeper
from tests.support.places import open_directory
from tests.support.restoring import content, files
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.source_site import SourceSite, agent_of
from tests.support.wait import until
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing
from wpclone.standalone.demo.web import Visitor
from wpclone.wordpress.inspect import inspect


@pytest.fixture(scope="module")
def bedrock(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    with running_bedrock_source(mariadb_server) as source:
        os.kill(source.site.child.pid, signal.SIGUSR1)  # the parent alone: it reads its configuration again
        until(lambda: "Sample post 1" in Visitor().get(f"{source.url}/sample-post-1/").text, within=20)
        yield source


async def test_its_settings_are_read_through_env_and_libraries(bedrock: SourceSite) -> None:
    async with agent_of(bedrock) as agent:
        report = await inspect(agent)
    assert (report.home, report.siteurl, report.table_prefix) == (bedrock.url, f"{bedrock.url}/wp", "bed_")
    assert (report.abspath, report.content_dir) == (f"{bedrock.docroot}/wp/", f"{bedrock.docroot}/app")
    assert [(root.name, root.place) for root in report.roots] == [("core", ""), ("content", "wp-content")]
    assert report.constants["WP_POST_REVISIONS"] == 5
    assert report.constants["AUTH_KEY"] is None
    assert report.code_in_wp_config


async def test_it_is_cloned_by_sign_in_and_its_content_shows_where_a_clones_does(
    bedrock: SourceSite, mariadb_server: Mariadb
) -> None:
    with running_keeper(mariadb_server.place.port) as keeper, open_directory("work") as work:
        SERVICE.own(work)
        yard = Yard(bedrock, mariadb_server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom))
        job = await yard.clone(admin(yard))
        assert job.state is JobState.COMPLETED, job.error
        site = keeper.ask("describe", clone_id=job.job_id)
        host = urlsplit(site["url"]).netloc
        page = await asyncio.to_thread(fetch, site["port"], host, "/sample-post-1/")
        assert (page.status, "Sample post 1" in page.body) == (200, True)
        assert "/app/" not in page.body
        picture = await asyncio.to_thread(fetch, site["port"], host, "/wp-content/uploads/2025/10/picture-1.jpg")
        assert picture.status == 200
        assert list((bedrock.docroot / "app" / "plugins").glob("wpc-*")) == []
        assert (await yard.delete(job.job_id)).state is JobState.COMPLETED


def _around(bedrock: SourceSite) -> dict[str, str]:
    """Every file of the project that is not content, with its hash."""
    project = bedrock.docroot.parent
    found = [path for path in project.rglob("*") if path.is_file() and not path.is_relative_to(bedrock.docroot / "app")]
    return {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def _app(bedrock: SourceSite) -> dict[str, object]:
    """The content: of the tables and of `web/app`."""
    return content(bedrock, ["bed_posts", "bed_postmeta", "bed_terms"]) | files(bedrock.docroot / "app")


def _get(url: str) -> tuple[int, str]:
    answer = Visitor().get(url)
    return answer.status, answer.text


@pytest.mark.timeout(300)
async def test_a_clones_content_is_restored_into_its_layout_and_rolled_back(bedrock: SourceSite, mariadb_server: Mariadb) -> None:
    with running_keeper(mariadb_server.place.port) as keeper, open_directory("work") as work:
        SERVICE.own(work)
        yard = Yard(bedrock, mariadb_server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom))
        shop = Shop(yard)
        await shop.clone()
        before, around = _app(bedrock), _around(bedrock)
        picture = f'<img src="{shop.clone_url}/wp-content/uploads/ours.txt">'
        shop.at_clone(
            "UPDATE bed_posts SET post_title = 'Ours', post_content = CONCAT(post_content, %s) WHERE post_name = 'sample-post-1'",
            picture,
        )
        shop.write_clone("wp-content/uploads/ours.txt", b"from the clone")
        shop.at_target("UPDATE bed_posts SET post_title = 'Theirs' WHERE post_name = 'sample-post-2'")
        job = await shop.restore()
        assert job.state is JobState.COMPLETED, job.error
        assert (job.result or {})["report"]["merged_by"] == "base"

        status, page = await asyncio.to_thread(_get, f"{bedrock.url}/sample-post-1/")
        assert (status, "Ours" in page, f"{bedrock.url}/app/uploads/ours.txt" in page) == (200, True, True)
        assert "/wp-content/" not in page
        assert "Theirs" in (await asyncio.to_thread(_get, f"{bedrock.url}/sample-post-2/"))[1]
        assert await asyncio.to_thread(_get, f"{bedrock.url}/app/uploads/ours.txt") == (200, "from the clone")
        assert (await asyncio.to_thread(_get, f"{bedrock.url}/wp/wp-login.php"))[0] == 200
        assert _around(bedrock) == around
        addresses = shop.at_target("SELECT option_value FROM bed_options WHERE option_name IN ('siteurl', 'home') ORDER BY 1")
        assert [row[0] for row in addresses] == [bedrock.url, f"{bedrock.url}/wp"]

        rolled_back = await shop.leave(job, KeptState.ROLLED_BACK)
        assert rolled_back.state is JobState.COMPLETED, rolled_back.error
        assert "Sample post 1" in (await asyncio.to_thread(_get, f"{bedrock.url}/sample-post-1/"))[1]
        assert (await asyncio.to_thread(_get, f"{bedrock.url}/app/uploads/ours.txt"))[0] == 404
        shop.at_target("UPDATE bed_posts SET post_title = 'Sample post 2' WHERE post_name = 'sample-post-2'")
        assert (_app(bedrock), _around(bedrock)) == (before, around)
        assert list(Path(bedrock.docroot / "app").glob(".wpclone*")) == []
        assert shop.at_target("SHOW TABLES LIKE 'wpc%%'") == []
        assert (await yard.delete(shop.clone_id)).state is JobState.COMPLETED
