"""The fences at targets, each by itself: of a clone's database, and of a restore, by its lock file and in its database."""

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.test_database_fences import waits_for_a_lock
from tests.integration.test_changing_tables import _copy, _once, _Restless, many
from tests.integration.test_copy_tables import Target, target
from tests.support.restoring import RESTORE_ID, Restoring, restoring
from tests.support.source_site import SourceSite, agent_of
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.errors import FencedOff, Reason, SiteError

__all__ = ["many", "target"]  # fixtures

_OVERTAKE = "UPDATE wpclone_control SET fence = 2 WHERE name = ''"
"""A newer claim, by its number alone: it ends nobody's connection."""


async def test_rows_on_their_way_to_a_database_that_was_claimed_meanwhile_are_not_written(
    many: SourceSite, target: Target
) -> None:
    rows: list[object] = []

    def overtaken() -> None:
        target.sql(_OVERTAKE)
        rows.append(target.sql("SELECT COUNT(*) FROM wp_many"))

    async with agent_of(many) as agent:
        hurried = AgentClient(agent._session, agent.address, seconds=0.001)
        with pytest.raises(FencedOff):
            await _copy(hurried, target, _once(overtaken))
    assert rows == [target.sql("SELECT COUNT(*) FROM wp_many")]


async def test_a_range_read_again_is_not_written_to_a_database_that_was_claimed_meanwhile(
    many: SourceSite, target: Target
) -> None:
    asked: list[str] = []

    def overtaken() -> None:
        asked.append("what changed")
        if len(asked) == 2:  # first when the copy begins, then when all rows are there
            many.sql("UPDATE wp_many SET t = 'changed' WHERE a = 7")
            target.sql(_OVERTAKE)

    async with agent_of(many) as agent:
        restless = _Restless(agent._session, agent.address, seconds=0.001)
        restless.before(overtaken)
        with pytest.raises(FencedOff):
            await _copy(restless, target)
    assert target.sql("SELECT COUNT(*), SUM(t = 'changed') FROM wp_many") == [(12_000, 0)]


@pytest.fixture
async def restore(source_site: SourceSite) -> AsyncIterator[Restoring]:
    """A restore claimed under fence 3. Nothing of it goes live: the site stands on both sides."""
    async with restoring(source_site, source_site, fence=3) as opened:
        await opened.target.claim()
        await opened.target.number(["wp_posts"])
        yield opened


def lock_of(site: SourceSite) -> Path:
    return site.docroot / "wp-content" / f".wpclone-restore-{RESTORE_ID}" / "lock"


def control_of(site: SourceSite) -> str:
    """The table that holds the database's fence."""
    ((name,),) = site.sql("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME LIKE 'wpcr%control'")
    return str(name)


def numbered(site: SourceSite) -> int:
    """How many tables the restore has given a number."""
    ((count,),) = site.sql(f"SELECT COUNT(*) FROM `{control_of(site)}` WHERE name <> ''")
    return int(str(count))


async def test_an_order_under_another_number_than_the_one_that_claimed_is_refused(
    restore: Restoring, source_site: SourceSite
) -> None:
    for number in (2, 4):
        with pytest.raises(FencedOff):
            await restore.again(number).target.state()
    assert lock_of(source_site).read_text().strip() == "3"
    assert (await restore.target.state()).state == "staging"


async def test_a_claim_newer_than_the_lock_file_knows_is_refused_by_the_database(
    restore: Restoring, source_site: SourceSite
) -> None:
    """As where the file's locks do not hold between two web servers of one site."""
    source_site.sql(f"UPDATE `{control_of(source_site)}` SET fence = 5 WHERE name = ''")
    with pytest.raises(FencedOff):
        await restore.target.number(["wp_users"])
    later = restore.again(4)
    await later.target.claim()
    with pytest.raises(FencedOff):
        await later.target.number(["wp_users"])
    assert numbered(source_site) == 1
    newest = restore.again(5)
    await newest.target.claim()
    assert set(await newest.target.number(["wp_users"])) == {"wp_posts", "wp_users"}


async def test_a_write_waits_for_a_claim_that_is_just_raising_the_databases_fence(
    restore: Restoring, source_site: SourceSite
) -> None:
    with closing(source_site.mariadb.connect(source_site.site.database)) as newer, newer.cursor() as cursor:
        newer.begin()
        cursor.execute(f"UPDATE `{control_of(source_site)}` SET fence = 4 WHERE name = ''")
        writing = asyncio.create_task(restore.target.number(["wp_users"]))
        await waits_for_a_lock(source_site.mariadb, writing)
        newer.commit()
    with pytest.raises(FencedOff):
        await writing
    assert numbered(source_site) == 1


async def test_while_an_order_is_carried_out_no_other_is(restore: Restoring, source_site: SourceSite) -> None:
    with lock_of(source_site).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SiteError) as refused:
            await restore.agent.order_once({"verb": "restore", "do": "claim", "id": RESTORE_ID, "fence": 4, "make": True})
    assert refused.value.reason is Reason.SOURCE_BUSY
    assert lock_of(source_site).read_text().strip() == "3"
