"""Whole restores between a real site and a real clone of it."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.test_clone_plan import Yard
from tests.support.hosting import running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.source_site import SourceSite, running_source_site
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing


@pytest.fixture(scope="module")
def written_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A source of this module's own: restores write to it."""
    with running_source_site(mariadb_server) as source:
        yield source


@pytest.fixture
async def shop(written_site: SourceSite, mariadb_server: Mariadb) -> AsyncIterator[Shop]:
    with running_keeper(mariadb_server.place.port) as keeper, open_directory("work") as work:
        SERVICE.own(work)
        made = Shop(Yard(written_site, mariadb_server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)))
        await made.clone()
        yield made
        await made.yard.delete(made.clone_id)


ORDER = "INSERT INTO wp_posts (post_author, post_content, post_title, post_excerpt, post_status, post_type, to_ping, pinged, post_content_filtered, post_date, post_date_gmt, post_modified, post_modified_gmt) VALUES (1, '', %s, '', 'wc-processing', 'shop_order', '', '', '', NOW(), NOW(), NOW(), NOW())"  # noqa: E501


async def test_a_changed_clone_comes_back_and_the_targets_own_changes_survive(shop: Shop) -> None:
    shop.at_clone("UPDATE wp_posts SET post_title = 'Redesigned' WHERE ID = 1")
    shop.at_target(ORDER, "Order of today")
    job = await shop.restore()
    assert job.state is JobState.COMPLETED, job.error
    assert shop.at_target("SELECT post_title FROM wp_posts WHERE ID = 1") == [("Redesigned",)]
    assert shop.at_target("SELECT COUNT(*) FROM wp_posts WHERE post_title = 'Order of today'") == [(1,)]
    print(job.result)
    back = await shop.leave(job, KeptState.ROLLED_BACK)
    assert back.state is JobState.COMPLETED, back.error
    assert shop.at_target("SELECT post_title FROM wp_posts WHERE ID = 1") != [("Redesigned",)]
    assert shop.traces() == []
