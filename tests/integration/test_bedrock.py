"""A Bedrock site: found, described, signed in to and cloned."""

import asyncio
import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.integration.test_clone_plan import Yard, admin
from tests.support.bedrock_source import running_bedrock_source
from tests.support.hosting import fetch, running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import SourceSite, agent_of
from tests.support.wait import until
from wpclone.core.jobs.states import JobState
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
