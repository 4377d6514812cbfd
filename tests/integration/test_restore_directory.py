"""A restore to a site in a directory of its host: what the clone did not change is byte for byte what it was."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.test_clone_plan import Yard
from tests.support.hosting import running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.source_site import running_source_site
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing


@pytest.fixture
def yard(mariadb_server: Mariadb) -> Iterator[Yard]:
    keys = KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    with (
        running_source_site(mariadb_server, path="/blog", posts=2, upload_bytes=100_000) as source,
        running_keeper(mariadb_server.place.port) as keeper,
        open_directory("work") as work,
    ):
        SERVICE.own(work)
        yield Yard(source, mariadb_server, keeper, work, keys)


async def test_addresses_without_a_host_come_back_to_the_sites_directory(yard: Yard) -> None:
    shop = Shop(yard)
    here = yard.source.url
    content = f'<a href="/blog/about/"><img src="/blog/wp-content/a.jpg"></a> {here}/wp-content/b.jpg {here}/about/'
    ids = [row[0] for row in shop.at_target("SELECT ID FROM wp_posts WHERE post_type = 'post' ORDER BY ID")]
    shop.at_target("UPDATE wp_posts SET post_content = %s", content)
    await shop.clone()
    assert shop.at_clone("SELECT post_content FROM wp_posts WHERE ID = %s", ids[0])[0][0] == content.replace(
        "/blog/wp-content/a", "/wp-content/a"
    ).replace(here, shop.clone_url)
    shop.at_clone("UPDATE wp_posts SET post_title = 'Ours' WHERE ID = %s", ids[0])
    job = await shop.restore()
    assert job.state is JobState.COMPLETED, job.error
    assert shop.at_target("SELECT DISTINCT post_content FROM wp_posts") == [(content,)]
    assert [row[0] for row in shop.at_target("SELECT ID FROM wp_posts WHERE post_title = 'Ours'")] == ids[:1]
    assert (await shop.leave(job, KeptState.RELEASED)).state is JobState.COMPLETED
    await yard.delete(shop.clone_id)
