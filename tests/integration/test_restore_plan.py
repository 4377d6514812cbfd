"""Whole restores between a real site and real clones of it: what each side did since survives, or is told."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.integration.test_channels import DENY_PHP
from tests.integration.test_clone_plan import Yard
from tests.support.consenting import consenting
from tests.support.hosting import running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.shop_content import comment, insert_post, open_shop, place_order, place_order_as_post, register
from tests.support.source_site import SourceSite, running_source_site
from wpclone.core.jobs.errors import NothingKept
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.restore.target import RestoreTarget


@pytest.fixture(scope="module")
def yard(mariadb_server: Mariadb) -> Iterator[Yard]:
    """A source of this module's own, because restores write to it, and a keeper for its clones."""
    keys = KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    with (
        running_source_site(mariadb_server) as source,
        running_keeper(mariadb_server.place.port) as keeper,
        open_directory("work") as work,
    ):
        SERVICE.own(work)
        made = Yard(source, mariadb_server, keeper, work, keys)
        yield made
        if shared := SHARED.pop(id(made), None):
            asyncio.run(made.delete(shared.clone_id))


@pytest.fixture
async def shop(yard: Yard) -> AsyncIterator[Shop]:
    """A shop and a fresh clone of it. Nothing of a restore is left when a test ends."""
    made = Shop(yard)
    open_shop(made)
    await made.clone()
    yield made
    await made.yard.delete(made.clone_id)
    assert made.traces() == []


def done(job: Job) -> dict[str, Any]:
    """The report of a completed job."""
    assert job.state is JobState.COMPLETED, job.error
    assert job.result is not None
    return dict(job.result["report"])


def failed(job: Job) -> str:
    """Why a job failed."""
    assert job.state is JobState.FAILED
    assert not job.needs_attention
    assert job.error is not None
    return job.error.reason


def title(shop: Shop, number: int) -> str:
    """A post's title at the target; empty without the post."""
    rows = shop.at_target("SELECT post_title FROM wp_posts WHERE ID = %s", number)
    return str(rows[0][0]) if rows else ""


def content(shop: Shop) -> dict[str, int]:
    """A checksum of each of the target's tables that nobody but a restore writes to."""
    names = ("wp_posts", "wp_postmeta", "wp_terms", "wp_term_relationships", "wp_comments", "wp_users", "wp_wc_orders")
    return {name: int(shop.at_target(f"CHECKSUM TABLE {name}")[0][1]) for name in names}


async def status(shop: Shop) -> int:
    """How the target's home page answers a visitor."""
    opened = await asyncio.to_thread(
        urllib.request.urlopen, f"http://127.0.0.1:{shop.yard.source.url.rpartition(':')[2]}/", None, 30
    )
    return int(opened.status)


async def test_both_sides_changes_are_there_after_a_restore_and_a_rollback_brings_the_old_back(shop: Shop) -> None:
    theme = shop.yard.source.docroot / "wp-content" / "uploads" / "kept.txt"
    insert_post(shop, "clone", 5001, "Landing page", "page", f"See {shop.clone_url}/wp-content/uploads/a.png")
    shop.at_clone("INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (5001, 'layout', 'wide')")
    shop.at_clone("UPDATE wp_posts SET post_title = 'Redesigned' WHERE ID = 1")
    shop.at_clone("UPDATE wp_options SET option_value = 'New tagline' WHERE option_name = 'blogdescription'")
    shop.at_clone("UPDATE wp_options SET option_value = '0' WHERE option_name = 'blog_public'")
    before = title(shop, 1)
    place_order(shop, 2)
    place_order_as_post(shop, 6001)
    comment(shop, 1, "First!")
    register(shop, "newcomer")
    shop.yard.source.put("wp-content/uploads/kept.txt", b"since the clone was made")
    job = await shop.restore()
    report = done(job)
    assert (report["merged_by"], report["conflict_count"]) == ("base", 0)
    staged = {table["name"]: table for table in report["integrity"]["tables"]}
    assert sum(table["rows"] for table in staged.values()) == (job.result or {})["rows"]
    assert report["rewrite"]["seen"] > report["rewrite"]["rewritten"] > 0
    assert title(shop, 1) == "Redesigned"
    assert shop.at_target("SELECT post_content FROM wp_posts WHERE ID = 5001") == [
        (f"See {shop.yard.source.url}/wp-content/uploads/a.png",)
    ]
    assert shop.at_target("SELECT meta_value FROM wp_postmeta WHERE post_id = 5001") == [("wide",)]
    assert shop.at_target("SELECT option_value FROM wp_options WHERE option_name = 'blogdescription'") == [("New tagline",)]
    assert shop.at_target("SELECT option_value FROM wp_options WHERE option_name = 'blog_public'") == [("1",)]
    assert shop.at_target("SELECT COUNT(*) FROM wp_wc_orders") == [(2,)]
    assert title(shop, 6001) == "Order 6001"
    assert shop.at_target("SELECT meta_value FROM wp_postmeta WHERE post_id = 6001") == [("12.5",)]
    assert shop.at_target("SELECT comment_count FROM wp_posts WHERE ID = 1")[0][0] >= 1
    assert shop.at_target("SELECT COUNT(*) FROM wp_comments WHERE comment_content = 'First!'") == [(1,)]
    assert shop.at_target("SELECT COUNT(*) FROM wp_users WHERE user_login = 'newcomer'") == [(1,)]
    assert theme.read_bytes() == b"since the clone was made"
    assert await status(shop) == 200
    rolled_back = await shop.leave(job, KeptState.ROLLED_BACK)
    done(rolled_back)
    assert (title(shop, 1), title(shop, 5001), title(shop, 6001)) == (before, "", "Order 6001")
    assert shop.at_target("SELECT COUNT(*) FROM wp_wc_orders") == [(2,)]
    assert await status(shop) == 200
    with pytest.raises(NothingKept):
        await shop.leave(job, KeptState.RELEASED)


async def test_an_application_password_opens_the_target_and_the_agent_stays_though_plugins_are_replaced(shop: Shop) -> None:
    with consenting(shop.yard.source) as consent:
        consent.activate()
        access = {"username": consent.login.username, "password": consent.password}
        shop.at_clone("UPDATE wp_posts SET post_title = 'Redesigned' WHERE ID = 1")
        before = title(shop, 1)
        job = await shop.restore(target=access, preserve_plugins=False)
        assert done(job)["agent"] == "kept"
        assert (title(shop, 1), consent.is_active, consent.lying_there()) == ("Redesigned", True, [])
        consent.deactivate()
        done(await shop.leave(job, KeptState.ROLLED_BACK))
        assert (title(shop, 1), consent.is_active, consent.lying_there()) == (before, False, [])
        assert await status(shop) == 200


async def test_a_target_that_answers_through_wordpress_alone_is_refused_before_anything_is_written(yard: Yard) -> None:
    """WordPress stands still for the exchange, and would not start at all between its old tables and its new ones."""
    shop = await shared_shop(yard)
    denied = yard.source.put("wp-content/plugins/.htaccess", DENY_PHP.encode())
    try:
        before = content(shop)
        job = await shop.restore()
        assert (failed(job), shop.traces(), content(shop)) == ("AGENT_BLOCKED", [], before)
        assert job.error is not None
        assert "stands still" in job.error.message
    finally:
        denied.unlink()


async def test_a_dry_run_tells_what_would_change_and_writes_nothing(shop: Shop) -> None:
    insert_post(shop, "clone", 5002, "Landing page", "page")
    shop.at_clone("UPDATE wp_posts SET post_title = 'Ours' WHERE ID = 1")
    shop.at_target("UPDATE wp_posts SET post_title = 'Theirs' WHERE ID = 1")
    before = content(shop)
    job = await shop.restore(dry_run=True, conflict_policy="abort")
    report = done(job)
    (posts,) = [table for table in report["tables"] if table["name"] == "wp_posts"]
    assert (posts["inserted"], posts["conflicts"], report["conflict_count"]) == (1, 1, 1)
    assert report["conflicts"][0] == {"table": "posts", "key": "1", "conflict": "both changed", "taken": "target"}
    assert (report["files"]["added"], report["files"]["changed"], report["files"]["bytes"]) == (0, 0, 0)
    assert (content(shop), shop.traces()) == (before, [])
    assert await shop.yard.store.kept_state(job.job_id) is None


async def test_conflicts_end_a_restore_that_is_to_abort_and_the_target_is_untouched(shop: Shop) -> None:
    shop.at_clone("UPDATE wp_posts SET post_title = 'Ours' WHERE ID = 1")
    shop.at_target("UPDATE wp_posts SET post_title = 'Theirs again' WHERE ID = 1")
    before = content(shop)
    assert failed(await shop.restore(conflict_policy="abort")) == "RESTORE_CONFLICTS"
    assert (content(shop), shop.traces()) == (before, [])
    job = await shop.restore(conflict_policy="take_clone")
    assert done(job)["conflict_count"] == 1
    assert title(shop, 1) == "Ours"
    done(await shop.leave(job, KeptState.RELEASED))
    assert (title(shop, 1), shop.traces()) == ("Ours", [])


async def test_a_site_that_is_not_healthy_with_the_new_content_gets_its_old_content_back(shop: Shop) -> None:
    theme = str(shop.at_clone("SELECT option_value FROM wp_options WHERE option_name = 'stylesheet'")[0][0])
    shop.write_clone(f"wp-content/themes/{theme}/functions.php", b"<?php wpclone_no_such_function();")
    shop.at_clone("UPDATE wp_posts SET post_title = 'Broken' WHERE ID = 1")
    before = content(shop)
    assert failed(await shop.restore()) == "TARGET_UNHEALTHY"
    assert (content(shop), shop.traces(), await status(shop)) == (before, [], 200)


async def test_an_order_placed_in_the_moment_of_the_exchange_is_not_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.at_clone("UPDATE wp_posts SET post_title = 'Exchanged' WHERE ID = 1")
    swap, late = RestoreTarget.swap, iter((6101, 6102))

    async def swapped(target: RestoreTarget, **expected: Any) -> Any:
        if number := next(late, None):
            place_order_as_post(shop, number)  # after the last look, before the tables are locked
        return await swap(target, **expected)

    monkeypatch.setattr(RestoreTarget, "swap", swapped)
    job = await shop.restore()
    assert "wp_posts" in done(job)["read_again"]
    assert (title(shop, 1), title(shop, 6101), title(shop, 6102)) == ("Exchanged", "Order 6101", "Order 6102")
    done(await shop.leave(job, KeptState.RELEASED))


async def test_a_restore_cancelled_while_it_goes_live_is_taken_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.at_clone("UPDATE wp_posts SET post_title = 'Cancelled' WHERE ID = 1")
    before, asked = content(shop), await shop.accept()
    go_live = RestoreTarget.go_live

    async def cancelled(target: RestoreTarget) -> Any:
        await shop.yard.store.request_cancel(asked.job_id)
        return await go_live(target)

    monkeypatch.setattr(RestoreTarget, "go_live", cancelled)
    job = await shop.run(asked.job_id)
    assert (job.state, job.needs_attention) == (JobState.CANCELLED, False)
    assert (content(shop), shop.traces(), await status(shop)) == (before, [], 200)


async def test_files_that_only_the_clone_changed_come_and_those_the_target_changed_stay(shop: Shop) -> None:
    uploads = shop.yard.source.docroot / "wp-content" / "uploads"
    shop.yard.source.put("wp-content/uploads/theirs.txt", b"first")
    shop.yard.source.put("wp-content/uploads/ours.txt", b"first")
    await shop.clone_again()
    shop.write_clone("wp-content/uploads/ours.txt", b"ours, changed")
    shop.write_clone("wp-content/uploads/new.txt", b"new")
    shop.yard.source.put("wp-content/uploads/theirs.txt", b"theirs, changed")
    job = await shop.restore(paths=["wp-content/uploads/*"])
    report = done(job)
    assert (report["tables"], report["files"]["added"], report["files"]["changed"]) == ([], 1, 1)
    assert [(uploads / name).read_bytes() for name in ("theirs.txt", "ours.txt", "new.txt")] == [
        b"theirs, changed", b"ours, changed", b"new",
    ]  # fmt: skip
    done(await shop.leave(job, KeptState.ROLLED_BACK))
    assert (uploads / "ours.txt").read_bytes() == b"first"
    assert not (uploads / "new.txt").exists()


async def test_another_sites_content_replaces_the_targets_and_orders_stay(shop: Shop, source_site: SourceSite) -> None:
    place_order_as_post(shop, 6201)
    insert_post(shop, "target", 6202, "Only here", "page")
    job = await shop.restore(
        clone_id=None, source={"username": source_site.site.admin, "password": source_site.site.password},
        source_url=source_site.url, source_kind="admin_login",
    )  # fmt: skip
    assert done(job)["merged_by"] == "replacement"
    there = {row[0] for row in source_site.sql("SELECT post_title FROM wp_posts WHERE post_type = 'post'")}
    assert {row[0] for row in shop.at_target("SELECT post_title FROM wp_posts WHERE post_type = 'post'")} == there
    assert (title(shop, 6201), title(shop, 6202)) == ("Order 6201", "")
    assert shop.at_target("SELECT option_value FROM wp_options WHERE option_name = 'siteurl'") == [(shop.yard.source.url,)]
    assert await status(shop) == 200
    done(await shop.leave(job, KeptState.ROLLED_BACK))
    assert title(shop, 6202) == "Only here"


BAD = [
    ({"tables": ["wp_nothing"]}, "TABLE_UNKNOWN", "tables"),
    ({"tables": ["woocommerce_sessions"]}, "TABLE_UNKNOWN", "tables"),
    ({"preserve": ["no-such-plugin"]}, "PRESERVE_UNKNOWN", "preserve"),
    ({"paths": ["wp-content/nowhere/*"]}, "PATHS_UNKNOWN", "paths"),
]


@pytest.mark.parametrize(("request_", "reason", "field"), BAD, ids=[str(case[0]) for case in BAD])
async def test_bad_input_gets_one_error_that_names_the_field(
    yard: Yard, request_: dict[str, Any], reason: str, field: str
) -> None:
    shop = await shared_shop(yard)
    before = content(shop)
    job = await shop.restore(**request_)
    assert failed(job) == reason
    assert job.error is not None
    assert field in job.error.message
    assert (content(shop), shop.traces()) == (before, [])


async def test_a_private_target_is_refused_where_private_sources_are(yard: Yard) -> None:
    shop = await shared_shop(yard)
    strict = Shop(shop.yard, shop.clone_id, AddressPolicy())
    assert failed(await strict.restore()) == "ADDRESS_NOT_ALLOWED"
    assert shop.traces() == []


async def test_a_clone_is_not_restored_onto_itself(yard: Yard) -> None:
    shop = await shared_shop(yard)
    clone = await shop.clone_agent_given()
    job = await shop.restore(target_url=clone["url"], target_kind="agent", target={"agent_key": clone["key"]})
    assert failed(job) == "RESTORE_ONTO_ITSELF"


SHARED: dict[int, Shop] = {}


async def shared_shop(yard: Yard) -> Shop:
    """One clone for the tests that change nothing; it goes with the yard."""
    if id(yard) not in SHARED:
        made = SHARED[id(yard)] = Shop(yard)
        open_shop(made)
        await made.clone()
    return SHARED[id(yard)]
