"""What hosts do to a restore, from one real WordPress to another: limits, refusals, file systems and caches of their own."""

import asyncio
import json
import os
import secrets
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from tests.support.restoring import CONTENT_TABLES, content, files, home_page, nothing, restoring
from tests.support.source_site import SourceSite
from tests.support.wait import until_holds
from wpclone.wordpress.agent.wire import encoded
from wpclone.wordpress.errors import FencedOff, Reason, SiteError
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.restore.file_plan import FileChoice
from wpclone.wordpress.restore.files import stage_files, verify_files
from wpclone.wordpress.restore.report import TargetReport, refuse_target
from wpclone.wordpress.rewrite import Mapping, Rewriter


async def test_a_large_file_goes_on_where_it_stopped(source_site: SourceSite, target_site: SourceSite) -> None:
    large = source_site.put("wp-content/uploads/large.bin", secrets.token_bytes(12_000_000))
    try:
        async with restoring(source_site, target_site) as restore:
            await restore.target.claim()
            plan = await restore.plan(FileChoice(paths=("wp-content/uploads/large.bin",)))
            assert (plan.added, plan.changed, plan.removed, plan.size) == (1, 0, 0, 12_000_000)
            seen: list[Counts] = []
            staging = asyncio.create_task(stage_files(restore.source, restore.target, plan, progress=seen.append))
            await until_holds(lambda: len(seen) > 2, within=60)
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
                refuse_target(restore.report, restore.target_site, restore.source_site, tables=CONTENT_TABLES)
            assert refused.value.reason is Reason.TARGET_NOT_WRITABLE
            assert "wp-content/uploads" in refused.value.message
            await restore.sealed()
            with pytest.raises(SiteError) as stopped:
                await restore.target.swap(expected=None)
            assert stopped.value.reason is Reason.TARGET_NOT_WRITABLE
            assert (await home_page(target_site))[0] == 503
            await restore.target.rollback()
            assert content(target_site) == before
            assert (await home_page(target_site))[0] == 200
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
            refuse_target(report, site, source, **{"tables": ["wp_options"], **more})
        return refused.value.reason

    refuse_target(report, site, source, tables=["wp_options"], preserve_themes=["twentytwentythree"])
    assert reason(source=site) is Reason.RESTORE_ONTO_ITSELF
    assert reason(replace(report, volumes=(("content", 1, 1 << 20),))) is Reason.TARGET_TOO_SMALL
    assert reason(preserve_plugins=["no-such-plugin"]) is Reason.PRESERVE_UNKNOWN
    assert reason(tables=["wp_posts"]) is Reason.TARGET_INCOMPATIBLE
    assert reason(replace(report, triggers=()), tables=["wp_posts"]) is Reason.TARGET_INCOMPATIBLE
    refuse_target(replace(report, triggers=()), site, source, tables=["wp_posts", "wp_pinned"])
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
            assert (await home_page(target_site))[0] == 200
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
            await until_holds(lambda: len(seen) > 3, within=60)
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
