"""A restore of some two hundred megabytes: how long it takes, that the worker's memory stays flat, that each row is right; and
that the site is whole wherever it is killed."""

import os
import resource
import time
from collections.abc import Iterator

import pytest

from tests.integration.test_clone_plan import Yard
from tests.integration.test_restore_kills import NEW, Staged, kill_at, target_site
from tests.support.chaos_table import note
from tests.support.dying_agent import dying_agent_of
from tests.support.history import Findings
from tests.support.hosting import running_keeper
from tests.support.places import open_directory
from tests.support.restoring import content, restoring
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.source_site import SourceSite, running_source_site
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing

__all__ = ["target_site"]  # a fixture

pytestmark = pytest.mark.full
WHOLE_WITHIN = 30.0
POSTS, META = 40_000, 200_000


@pytest.fixture
def yard(mariadb_server: Mariadb) -> Iterator[Yard]:
    keys = KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    with (
        running_source_site(mariadb_server) as source,
        running_keeper(mariadb_server.place.port) as keeper,
        open_directory("work") as work,
    ):
        SERVICE.own(work)
        yield Yard(source, mariadb_server, keeper, work, keys)


@pytest.mark.timeout(1800)
async def test_two_hundred_megabytes_come_back_with_every_change_of_both_sides(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop(yard)
    columns = (
        "post_author, post_content, post_title, post_excerpt, post_status, post_type, to_ping, pinged, post_content_filtered"
    )
    times = "post_date, post_date_gmt, post_modified, post_modified_gmt"
    at = "'2020-01-01', '2020-01-01', '2020-01-01', '2020-01-01'"
    shop.at_target(
        f"INSERT INTO wp_posts (ID, {columns}, {times}) SELECT 10000 + seq, 1, REPEAT(CONCAT('<a href=\"', %s, '/', seq,"
        f" '\">x</a> '), 80), CONCAT('Post ', seq), '', 'publish', 'post', '', '', '', {at} FROM seq_1_to_{POSTS}",
        shop.yard.source.url,
    )  # fmt: skip
    shop.at_target(
        "INSERT INTO wp_postmeta (post_id, meta_key, meta_value) SELECT 10000 + (seq MOD %s), CONCAT('k', seq MOD 9),"
        f" REPEAT('v', 200) FROM seq_1_to_{META}", POSTS
    )  # fmt: skip
    begun = time.monotonic()
    await shop.clone()
    cloned = time.monotonic() - begun
    shop.at_clone("UPDATE wp_posts SET post_title = CONCAT('Ours ', ID) WHERE ID > 10000 AND ID MOD 10 = 1")
    shop.at_target("UPDATE wp_posts SET post_title = CONCAT('Theirs ', ID) WHERE ID > 10000 AND ID MOD 10 = 2")
    shop.at_target("UPDATE wp_postmeta SET meta_value = 'theirs' WHERE post_id > 10000 AND meta_id MOD 10 = 3")
    shop.at_clone("UPDATE wp_postmeta SET meta_value = 'ours' WHERE post_id > 10000 AND meta_id MOD 10 = 4")
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    job = await shop.restore()
    took = time.monotonic() - begun
    assert job.state is JobState.COMPLETED, job.error
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for which, number in (("Ours", POSTS // 10), ("Theirs", POSTS // 10)):
        assert shop.at_target("SELECT COUNT(*) FROM wp_posts WHERE post_title LIKE %s", f"{which} %") == [(number,)]
    for value in ("ours", "theirs"):
        assert abs(int(shop.at_target("SELECT COUNT(*) FROM wp_postmeta WHERE meta_value = %s", value)[0][0]) - META // 10) <= 1
    here = shop.yard.source.url
    assert shop.at_target("SELECT COUNT(*) FROM wp_posts WHERE ID > 10000 AND post_content LIKE %s", f"%{here}/%") == [(POSTS,)]
    seconds = {
        step.name: round((step.finished_at - step.started_at).total_seconds(), 1)
        for step in job.steps
        if step.finished_at and step.started_at
    }
    with capsys.disabled():
        print(f"\nclone {cloned:.1f} s, restore {took:.1f} s, worker grew by {grown:.0f} MB; {seconds}")
    assert grown < 300
    assert (await shop.leave(job, KeptState.ROLLED_BACK)).state is JobState.COMPLETED
    assert shop.at_target("SELECT COUNT(*) FROM wp_posts WHERE post_title LIKE 'Ours %%'") == [(0,)]
    assert shop.traces() == []
    await yard.delete(shop.clone_id)


@pytest.mark.timeout(3600)
async def test_killed_at_each_step_of_200_megabytes_the_site_is_old_or_new(
    mariadb_server: Mariadb, target_site: SourceSite
) -> None:
    with running_source_site(mariadb_server, title=NEW, upload_bytes=200_000_000) as large:
        old = content(target_site)
        async with dying_agent_of(target_site) as agent, restoring(large, target_site, through=agent.client) as restore:
            plan = await restore.sealed()
            assert plan.size > 150_000_000
            staged = Staged(target_site, restore, agent, plan, old)
            await kill_at(staged, all_of_them=True)
    late = [f"whole after {seconds:.1f} s" for seconds in staged.recovery if seconds > WHOLE_WITHIN]
    kills = len(staged.recovery)
    note(
        "A restore of 200 MB killed at each step, there and back",
        Findings(kills, violations=late, recovery=sorted(staged.recovery)),
    )
