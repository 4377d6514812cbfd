"""A restore from one real WordPress to another, at the level of the site: staged, exchanged, and back again."""

import asyncio
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from yarl import URL

from tests.support.restoring import CONTENT_TABLES, content, files, nothing, restoring
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from tests.support.wait import until_async
from wpclone.wordpress.agent.wire import encoded
from wpclone.wordpress.errors import FencedOff, Reason, SiteError
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.restore.file_plan import FileChoice
from wpclone.wordpress.restore.files import stage_files, verify_files
from wpclone.wordpress.restore.health import check_health
from wpclone.wordpress.restore.report import TargetReport, refuse_target
from wpclone.wordpress.restore.target import fence_number
from wpclone.wordpress.rewrite import Mapping, Rewriter


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
            assert "A sample of everything" in (await _home(target_site))[1]
            assert [name for name in await restore.target.changed_since_live() if name != "wp_options"] == []
            target_site.sql("UPDATE wp_posts SET post_title = 'Paid' WHERE ID = 4711")
            assert "wp_posts" in await restore.target.changed_since_live()
            await restore.target.rollback()
        finally:
            target_site.sql("DELETE FROM wp_posts WHERE ID = 4711")
    assert (await _home(target_site))[0] == 200


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
                assert page.body == b"thank you" or page.status == 503
                number += 4

    async def orders() -> list[tuple[bytes, ...]]:
        return [(str(row[0]).encode(),) for row in target_site.sql("SELECT ID FROM wp_posts WHERE post_type = 'shop_order'")]

    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed()
            customers = [asyncio.create_task(customer(first)) for first in range(4)]
            await until_async(lambda: _says(len(placed) > 8), within=60)
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
            await until_async(lambda: _says(len(refused) > 4), within=60)
            await restore.target.go_live()
            count = len(placed)
            await until_async(lambda: _says(len(placed) > count + 4), within=60)
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


async def _says(value: bool) -> bool:
    return value


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
            assert (await _home(target_site))[0] == 503
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
            assert (await _home(target_site))[0] == 200
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


async def test_a_large_file_goes_on_where_it_stopped(source_site: SourceSite, target_site: SourceSite) -> None:
    large = source_site.put("wp-content/uploads/large.bin", secrets.token_bytes(12_000_000))
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.target.claim()
            plan = await restore.plan(FileChoice(paths=("wp-content/uploads/large.bin",)))
            assert (plan.added, plan.changed, plan.removed, plan.size) == (1, 0, 0, 12_000_000)
            seen: list[Counts] = []
            staging = asyncio.create_task(stage_files(restore.source, restore.target, plan, progress=seen.append))
            await until_async(lambda: _says(len(seen) > 2), within=60)
            staging.cancel()
            await asyncio.wait([staging])
            again = restore.again(2)
            await again.target.claim()
            there = await again.target.order("there", files=[["uploads", encoded(b"large.bin")]])
            assert 1_000_000 < there[-1]["there"][0] < 12_000_000  # type: ignore[index]
            await stage_files(again.source, again.target, plan, progress=nothing)
            await verify_files(again.source, again.target, plan, progress=nothing)
            await again.target.seal(plan, [])
            await again.target.swap(expected={})
            assert (target_site.docroot / "wp-content/uploads/large.bin").read_bytes() == large.read_bytes()
            await again.target.rollback()
            assert not (target_site.docroot / "wp-content/uploads/large.bin").exists()
    finally:
        large.unlink()


_ODD = {
    "wp_odd_parent": "CREATE TABLE wp_odd_parent (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, v varchar(20))",
    "wp_odd_child": "CREATE TABLE wp_odd_child (id int PRIMARY KEY, parent bigint unsigned, half int AS (id / 2) VIRTUAL,"
    " CONSTRAINT odd_check CHECK (id > 0),"
    " CONSTRAINT odd_key FOREIGN KEY (parent) REFERENCES wp_odd_parent (id) ON DELETE CASCADE)",
    "wp_odd_bytes": "CREATE TABLE wp_odd_bytes (b longblob, t longtext, d datetime NOT NULL DEFAULT '0000-00-00 00:00:00')",
    "wp_odd_days": "CREATE TABLE wp_odd_days (id int PRIMARY KEY, d date, t datetime NOT NULL)",
}


async def test_odd_tables_and_long_rows_arrive_within_a_hosts_limits(source_site: SourceSite, target_site: SourceSite) -> None:
    access = (target_site.docroot / ".htaccess").read_bytes()
    target_site.put(
        ".htaccess", b"LimitRequestBody 1000000\nphp_value memory_limit 64M\nphp_value max_execution_time 30\n" + access
    )
    for made in _ODD.values():
        source_site.sql(f"SET STATEMENT sql_mode='' FOR {made}")
    source_site.sql("INSERT INTO wp_odd_parent VALUES (18446744073709551614, 'a'), (1, 'b')")
    source_site.sql("INSERT INTO wp_odd_child (id, parent) VALUES (1, 18446744073709551614), (2, NULL)")
    days = "INSERT INTO wp_odd_days VALUES (%s, '2023-02-30', '2023-02-31 01:02:03')"
    impossible = f"SET STATEMENT sql_mode='ALLOW_INVALID_DATES' FOR {days}"
    source_site.sql(impossible, 1)
    long = secrets.token_bytes(9_000_000)
    source_site.sql("INSERT INTO wp_odd_bytes (b, t) VALUES (%s, %s), (NULL, '')", long, f"{source_site.url}/ 'x' \\")
    target_site.sql("CREATE TABLE wp_odd_parent (id int PRIMARY KEY, old text)")
    target_site.sql(_ODD["wp_odd_days"])
    target_site.sql(impossible, 2)
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.target.claim()
            assert restore.target.part_bytes < 760_000
            await restore.tables(list(_ODD))
            assert await restore.target.carry("wp_odd_days", [(b"2",)]) == 1
            plan = await restore.plan(FileChoice(paths=("nothing",)))
            await restore.target.seal(plan, list(_ODD))
            await restore.target.swap(expected=await restore.target.marks(list(_ODD)))
            assert target_site.sql("SELECT * FROM wp_odd_parent ORDER BY id") == source_site.sql(
                "SELECT * FROM wp_odd_parent ORDER BY id"
            )
            assert target_site.sql("SELECT * FROM wp_odd_child") == source_site.sql("SELECT * FROM wp_odd_child")
            found = {row[0]: row[1] for row in target_site.sql("SELECT t, b FROM wp_odd_bytes")}
            assert found == {f"{target_site.url}/ 'x' \\": long, "": None}
            arrived = target_site.sql("SELECT id, CAST(d AS CHAR), CAST(t AS CHAR) FROM wp_odd_days ORDER BY id")
            assert arrived == [(number, "2023-02-30", "2023-02-31 01:02:03") for number in (1, 2)]
            assert "REFERENCES `wp_odd_parent`" in str(target_site.sql("SHOW CREATE TABLE wp_odd_child")[0][1])
            target_site.sql("DELETE FROM wp_odd_parent WHERE id = 18446744073709551614")
            assert [row[0] for row in target_site.sql("SELECT id FROM wp_odd_child")] == [2]
            await restore.target.rollback()
            assert "old" in str(target_site.sql("SHOW CREATE TABLE wp_odd_parent")[0][1])
    finally:
        target_site.put(".htaccess", access)
        target_site.sql("DROP TABLE IF EXISTS wp_odd_child, wp_odd_parent, wp_odd_bytes, wp_odd_days")
        source_site.sql("DROP TABLE IF EXISTS wp_odd_child, wp_odd_parent, wp_odd_bytes, wp_odd_days")


@pytest.mark.root
async def test_a_target_that_is_not_writable_is_told_and_left_alone(source_site: SourceSite, target_site: SourceSite) -> None:
    uploads = target_site.docroot / "wp-content/uploads"
    before, about = content(target_site), uploads.stat()
    os.chown(uploads, 0, 0)
    try:
        async with restoring(source_site, target_site) as restore:
            with pytest.raises(SiteError) as refused:
                refuse_target(restore.report, restore.target_site, restore.source_site, tables=CONTENT_TABLES, bytes_needed=0)
            assert refused.value.reason is Reason.TARGET_NOT_WRITABLE
            assert "wp-content/uploads" in refused.value.message
            await restore.sealed()
            with pytest.raises(SiteError) as stopped:
                await restore.target.swap(expected=None)
            assert stopped.value.reason is Reason.TARGET_NOT_WRITABLE
            assert (await _home(target_site))[0] == 503
            await restore.target.rollback()
            assert content(target_site) == before
            assert (await _home(target_site))[0] == 200
    finally:
        os.chown(uploads, about.st_uid, about.st_gid)


async def test_what_stands_in_the_way_is_one_clear_error(source_site: SourceSite, target_site: SourceSite) -> None:
    target_site.sql("CREATE TRIGGER wp_touch BEFORE INSERT ON wp_posts FOR EACH ROW SET NEW.ping_status = 'x'")
    target_site.sql(
        "CREATE TABLE wp_pinned (id int PRIMARY KEY, post bigint unsigned, FOREIGN KEY (post) REFERENCES wp_posts (ID))"
    )
    try:
        async with restoring(source_site, target_site) as restore:
            site, source, report = restore.target_site, restore.source_site, restore.report
    finally:
        target_site.sql("DROP TRIGGER wp_touch")
        target_site.sql("DROP TABLE wp_pinned")
    assert TargetReport.from_json(json.loads(json.dumps(report.to_json()))) == report

    def reason(report: TargetReport = report, source: SiteReport = source, **more: Any) -> Reason:
        with pytest.raises(SiteError) as refused:
            refuse_target(report, site, source, **{"tables": ["wp_options"], "bytes_needed": 1, **more})
        return refused.value.reason

    refuse_target(report, site, source, tables=["wp_options"], bytes_needed=1, preserve_themes=["twentytwentythree"])
    assert reason(source=site) is Reason.RESTORE_ONTO_ITSELF
    assert reason(bytes_needed=1 << 60) is Reason.TARGET_TOO_SMALL
    assert reason(preserve_plugins=["no-such-plugin"]) is Reason.PRESERVE_UNKNOWN
    assert reason(tables=["wp_posts"]) is Reason.TARGET_INCOMPATIBLE
    assert reason(replace(report, triggers=()), tables=["wp_posts"]) is Reason.TARGET_INCOMPATIBLE
    refuse_target(replace(report, triggers=()), site, source, tables=["wp_posts", "wp_pinned"], bytes_needed=1)
    assert reason(source=replace(source, wp_version="99.1")) is Reason.TARGET_INCOMPATIBLE
    assert reason(replace(report, refused_by_database="LOCK TABLES: error 1044")) is Reason.TARGET_INCOMPATIBLE
    assert reason(source=replace(source, multisite=True)) is Reason.MULTISITE_UNSUPPORTED


@pytest.mark.root
async def test_uploads_on_a_file_system_of_their_own_are_exchanged_there(
    source_site: SourceSite, target_site: SourceSite
) -> None:
    uploads = target_site.docroot / "wp-content/uploads"
    before = content(target_site)
    uid = f"uid={uploads.stat().st_uid},gid={uploads.stat().st_gid},mode=755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=20m,{uid}", "tmpfs", str(uploads)], check=False, timeout=20)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        kept = target_site.put("wp-content/uploads/kept.txt", b"on its own")
        async with restoring(source_site, target_site) as restore:
            assert restore.report.free_bytes < 21_000_000
            await restore.sealed()
            assert list(uploads.glob(".wpclone-restore-*/new/uploads/*"))
            await restore.target.swap(expected=None)
            await restore.target.go_live()
            ours = files(uploads)
            assert {name: ours.get(name) for name in files(source_site.docroot / "wp-content/uploads")} == files(
                source_site.docroot / "wp-content/uploads"
            )
            await restore.target.rollback()
            await restore.target.release()
            assert [path.name for path in uploads.iterdir()] == ["kept.txt"]
        large = source_site.put("wp-content/uploads/huge.bin", bytes(30_000_000))
        async with restoring(source_site, target_site) as restore:
            await restore.target.claim()
            plan = await restore.plan(FileChoice(paths=("wp-content/uploads/huge.bin",)))
            with pytest.raises(SiteError) as small:
                await stage_files(restore.source, restore.target, plan, progress=nothing)
            assert small.value.reason is Reason.TARGET_TOO_SMALL
            await restore.target.rollback()
            await restore.target.release()
        assert [path.name for path in uploads.iterdir()] == ["kept.txt"]
        large.unlink()
        kept.unlink()
    finally:
        subprocess.run(["umount", str(uploads)], check=True, timeout=20)
    assert content(target_site) == before


_OBJECT_CACHE = b"""<?php
// A cache that outlives a request, as far as emptying it goes.
eval('?>' . str_replace('function wp_cache_flush()', 'function emptied()', file_get_contents(ABSPATH . 'wp-includes/cache.php')));
function wp_cache_flush() {
    file_put_contents(WP_CONTENT_DIR . '/uploads/emptied.txt', get_option('no such thing') === false ? 'x' : '', FILE_APPEND);
    return emptied();
}
"""


async def test_an_object_cache_is_emptied_both_ways(source_site: SourceSite, target_site: SourceSite) -> None:
    drop_in = target_site.put("wp-content/object-cache.php", _OBJECT_CACHE)
    emptied = target_site.docroot / "wp-content/uploads/emptied.txt"
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.sealed()
            await restore.target.swap(expected=None)
            assert emptied.read_bytes() == b"x"
            await restore.target.go_live()
            assert (await _home(target_site))[0] == 200
            await restore.target.rollback()
            assert emptied.read_bytes() == b"xx"
            assert drop_in.exists()
    finally:
        drop_in.unlink()
        emptied.unlink(missing_ok=True)


async def test_staging_goes_on_at_the_chunk_and_every_row_lands_once(source_site: SourceSite, target_site: SourceSite) -> None:
    source_site.sql("CREATE TABLE wp_many (id int PRIMARY KEY, u varchar(200), t text, KEY u (u))")
    source_site.sql(
        "INSERT INTO wp_many SELECT seq, CONCAT(%s, seq), REPEAT(MD5(seq), 20) FROM seq_1_to_25000", source_site.url + "/?p="
    )
    rewriter = Rewriter(Mapping.of([source_site.url], target_site.url))
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.target.claim()
            seen: list[Counts] = []
            staging = asyncio.create_task(restore.stage(["wp_many"], rewriter, seen.append))
            await until_async(lambda: _says(len(seen) > 3), within=60)
            staging.cancel()
            await asyncio.wait([staging])
            again = restore.again(2)
            await again.target.claim()
            with pytest.raises(FencedOff):
                await restore.stage(["wp_many"], rewriter, nothing)
            later: list[Counts] = []
            staged = await again.stage(["wp_many"], rewriter, later.append)
            assert 0 < later[0].rows_done < 25_000
            assert (staged.tables[0].rows, staged.tables[0].rewritten) == (25_000, 25_000)
            await again.verify(["wp_many"])
            name = again.target.staged_name("wp_many").decode()
            assert target_site.sql(
                f"SELECT COUNT(*), COUNT(DISTINCT id), SUM(u LIKE %s) FROM {name}", f"{target_site.url}/?p=%"
            ) == [(25_000, 25_000, 25_000)]
            assert {row[2] for row in target_site.sql(f"SHOW INDEX FROM {name}")} == {"PRIMARY", "u"}
            target_site.sql(f"UPDATE {name} SET t = 'flipped' WHERE id = 77")
            with pytest.raises(SiteError) as damaged:
                await again.verify(["wp_many"])
            assert (damaged.value.reason, damaged.value.metadata["table"]) == (Reason.STAGING_DAMAGED, "wp_many")
    finally:
        source_site.sql("DROP TABLE wp_many")
