"""A restore from one real WordPress to another, at the level of the site: staged, exchanged, and back again."""

import asyncio
from datetime import UTC, datetime

import pytest
from yarl import URL

from tests.support.restoring import CONTENT_TABLES, content, files, home_page, restoring
from tests.support.source_site import SourceSite, site_session
from tests.support.wait import until_holds
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.restore.health import check_health
from wpclone.wordpress.restore.target import fence_number


async def test_content_is_staged_exchanged_and_rolled_back(source_site: SourceSite, target_site: SourceSite) -> None:
    before = content(target_site)
    async with restoring(source_site, target_site) as restore:
        await restore.sealed()
        assert content(target_site) == before
        assert (await home_page(target_site))[0] == 200
        marks = await restore.target.marks(CONTENT_TABLES)
        result = await restore.target.swap(expected=marks)
        assert (result.changed, result.state.state) == ((), "swapped")
        assert (await home_page(target_site))[0] == 503
        async with site_session() as session:
            health = await check_health(session, restore.target_site, result.state)
        assert health.ok, health.findings
        await restore.target.go_live()
        status, page = await home_page(target_site)
        assert status == 200
        assert "A sample of everything" in page
        assert source_site.url not in page
        assert content(target_site) != before
        assert await restore.target.changed_since_live() == []
        assert (await restore.target.rollback()).state == "rolled_back"
        assert content(target_site) == before
        assert (await home_page(target_site))[0] == 200


async def test_a_target_that_changed_is_not_exchanged_until_its_rows_are_carried_over(
    source_site: SourceSite, target_site: SourceSite
) -> None:
    async with restoring(source_site, target_site) as restore:
        await restore.sealed()
        marks = await restore.target.marks(CONTENT_TABLES)
        target_site.sql(
            "SET STATEMENT sql_mode='' FOR"
            " INSERT INTO wp_posts (ID, post_title, post_type) VALUES (4711, 'An order', 'shop_order')"
        )
        before = content(target_site)
        try:
            refused = await restore.target.swap(expected=marks)
            assert (refused.changed, refused.state.state) == (("wp_posts",), "staged")
            assert content(target_site) == before
            assert await restore.target.carry("wp_posts", [(b"4711",), (b"4712",)]) == 1
            result = await restore.target.swap(expected={**marks, **await restore.target.marks(["wp_posts"])})
            assert result.changed == ()
            await restore.target.go_live()
            assert target_site.sql("SELECT post_title FROM wp_posts WHERE ID = 4711") == [("An order",)]
            assert "A sample of everything" in (await home_page(target_site))[1]
            assert [name for name in await restore.target.changed_since_live() if name != "wp_options"] == []
            target_site.sql("UPDATE wp_posts SET post_title = 'Paid' WHERE ID = 4711")
            assert "wp_posts" in await restore.target.changed_since_live()
            await restore.target.rollback()
        finally:
            target_site.sql("DELETE FROM wp_posts WHERE ID = 4711")
    assert (await home_page(target_site))[0] == 200


_SHOP = b"""<?php
// A customer's order: WordPress let the request in, then takes its time, then writes.
add_action('init', function () {
    if (isset($_GET['order'])) {
        usleep(400000);
        global $wpdb;
        $wpdb->insert($wpdb->posts, ['post_type' => 'shop_order', 'post_title' => 'order ' . (int) $_GET['order']]);
        exit($wpdb->insert_id > 0 ? 'thank you' : 'failed');
    }
});
"""


async def test_orders_placed_during_an_exchange_are_kept_or_refused(source_site: SourceSite, target_site: SourceSite) -> None:
    shop = target_site.put("wp-content/mu-plugins/shop.php", _SHOP)
    placed: set[int] = set()
    refused: set[int] = set()
    over = asyncio.Event()

    async def customer(first: int) -> None:
        async with site_session() as session:
            number = first
            while not over.is_set():
                page = await session.fetch("GET", URL(f"{target_site.url}/?order={number}"))
                (placed if page.body == b"thank you" else refused).add(number)
                # "failed": let in before the maintenance, and its table was gone when it came to write (docs/restore.md, step 4).
                assert page.body in (b"thank you", b"failed") or page.status == 503, (page.status, page.body[:500])
                number += 4

    async def orders() -> list[tuple[bytes, ...]]:
        return [(str(row[0]).encode(),) for row in target_site.sql("SELECT ID FROM wp_posts WHERE post_type = 'shop_order'")]

    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed()
            customers = [asyncio.create_task(customer(first)) for first in range(4)]
            await until_holds(lambda: len(placed) > 8, within=60)
            seen = await restore.target.marks(CONTENT_TABLES)
            await restore.target.carry("wp_posts", await orders())
            changed: tuple[str, ...] = ("wp_posts",)
            rounds = 0
            while changed:
                rounds += 1
                await restore.target.maintenance(True)
                now = await restore.target.marks(CONTENT_TABLES)
                if now != seen:
                    await restore.target.carry("wp_posts", await orders())
                seen = now
                changed = (await restore.target.swap(expected=seen)).changed
            await until_holds(lambda: len(refused) > 4, within=60)
            await restore.target.go_live()
            count = len(placed)
            await until_holds(lambda: len(placed) > count + 4, within=60)
            over.set()
            await asyncio.gather(*customers)
            kept = {
                int(str(row[0])[6:]) for row in target_site.sql("SELECT post_title FROM wp_posts WHERE post_type = 'shop_order'")
            }
            assert placed <= kept
            assert not refused & kept
            assert rounds < 50
            await restore.target.rollback()
    finally:
        over.set()
        shop.unlink()
        target_site.sql("DELETE FROM wp_posts WHERE post_type = 'shop_order'")


async def test_content_with_a_fatal_error_is_found_out_behind_the_maintenance_and_taken_back(
    source_site: SourceSite, target_site: SourceSite
) -> None:
    broken = source_site.put(
        "wp-content/mu-plugins/broken.php",
        b"<?php if (strpos($_SERVER['HTTP_HOST'] ?? '', 'target') === 0) { no_such_function(); }",
    )
    before = content(target_site)
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed()
            state = (await restore.target.swap(expected=None)).state
            async with site_session() as session:
                health = await check_health(session, restore.target_site, state)
            assert not health.ok
            assert "critical error" in health.findings[0] or "status 500" in health.findings[0]
            assert (await home_page(target_site))[0] == 503
            await restore.target.rollback()
            async with site_session() as session:
                assert (await check_health(session, restore.target_site)).ok
    finally:
        broken.unlink()
    assert content(target_site) == before


async def test_production_keeps_what_is_its_own(source_site: SourceSite, target_site: SourceSite) -> None:
    target_site.sql(
        "REPLACE INTO wp_options (option_name, option_value) VALUES ('jetpack_options', 'ours'), ('blog_public', '1')"
    )
    target_site.sql("REPLACE INTO wp_options (option_name, option_value) VALUES ('acme_license_key', 'ours')")
    source_site.sql("UPDATE wp_options SET option_value = '0' WHERE option_name = 'blog_public'")
    source_site.sql(
        "REPLACE INTO wp_options (option_name, option_value) VALUES ('wcpay_account', 'theirs'), ('_transient_x', 'y')"
    )
    plugin = target_site.put("wp-content/plugins/own/own.php", b"<?php /* Plugin Name: Own */")
    target_site.sql(
        "UPDATE wp_options SET option_value = %s WHERE option_name = 'active_plugins'", 'a:1:{i:0;s:11:"own/own.php";}'
    )

    def option(name: str) -> str | None:
        found = target_site.sql("SELECT option_value FROM wp_options WHERE option_name = %s", name)
        return str(found[0][0]) if found else None

    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed(preserve_plugins=True)
            await restore.target.swap(expected=None)
            await restore.target.go_live()
            assert await restore.target.changed_since_live() == []
            assert option("blogname") == "A sample of everything"
            assert option("siteurl") == option("home") == target_site.url
            assert (option("blog_public"), option("jetpack_options"), option("acme_license_key")) == ("1", "ours", "ours")
            assert (option("wcpay_account"), option("_transient_x"), option("rewrite_rules")) == (None, None, None)
            assert option("active_plugins") == 'a:1:{i:0;s:11:"own/own.php";}'
            assert plugin.exists()
            assert (await home_page(target_site))[0] == 200
            await restore.target.rollback()
    finally:
        plugin.unlink()
        plugin.parent.rmdir()
        source_site.sql("DELETE FROM wp_options WHERE option_name IN ('wcpay_account', '_transient_x')")
        source_site.sql("UPDATE wp_options SET option_value = '1' WHERE option_name = 'blog_public'")
        target_site.sql("UPDATE wp_options SET option_value = 'a:0:{}' WHERE option_name = 'active_plugins'")


async def test_plugins_that_are_not_preserved_become_the_sources(source_site: SourceSite, target_site: SourceSite) -> None:
    own = target_site.put("wp-content/plugins/own/own.php", b"<?php /* Plugin Name: Own */")
    upload = target_site.put("wp-content/uploads/only-here.txt", b"kept")
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed()
            await restore.target.swap(expected=None)
            await restore.target.go_live()
            assert not own.exists()
            assert upload.read_bytes() == b"kept"
            theirs, ours = files(source_site.docroot / "wp-content"), files(target_site.docroot / "wp-content")
            assert {name: ours.get(name) for name in theirs} == theirs
            await restore.target.rollback()
            assert own.exists()
            await restore.target.release()
            assert await restore.target.find() is None
        left = [str(row[0]) for row in target_site.sql("SHOW TABLES")]
        assert not [name for name in left if name.startswith(("wpcr", "wpco"))]
        assert not list(target_site.docroot.rglob(".wpclone-restore*"))
        assert not (target_site.docroot / ".maintenance").exists()
    finally:
        own.unlink()
        own.parent.rmdir()
        upload.unlink()


async def test_an_older_claim_can_do_nothing_any_more(source_site: SourceSite, target_site: SourceSite) -> None:
    async with restoring(source_site, target_site, fence=fence_number(datetime(2026, 1, 2, tzinfo=UTC), 3)) as restore:
        await restore.sealed()
        newer = restore.again(fence_number(datetime(2026, 1, 2, tzinfo=UTC), 4))
        assert (await newer.target.claim()).state == "staged"
        for order in (
            restore.target.claim(), restore.target.swap(expected=None), restore.target.rollback(), restore.target.release(),
            restore.target.carry("wp_posts", [(b"1",)]), restore.target.maintenance(True),
        ):  # fmt: skip
            with pytest.raises(FencedOff):
                await order
        later_job = restore.again(fence_number(datetime(2026, 1, 3, tzinfo=UTC), 1))
        assert (await later_job.target.claim()).state == "staged"
