"""WordPress's own rules come into a target's .htaccess with pretty permalinks, all else of it stays, and all of it goes back."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_restore_kills import OLD, Staged
from tests.support.dying_agent import dying_agent_of
from tests.support.restoring import CONTENT_TABLES, Restoring, content, home_page, restoring
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from wpclone.wordpress.restore.file_plan import FileChoice, FilePlan
from wpclone.wordpress.restore.health import Health, check_health
from wpclone.wordpress.restore.target import RestoreState

_OWN = b"SetEnv PRODUCTION yes\r\nRewriteEngine On\nRewriteRule ^old-page$ /?p=1 [L]\n"
_EMPTY = b"# BEGIN WordPress\n# Nothing here yet.\n\n# END WordPress\n"
_BEGIN = b"# BEGIN WordPress\n"
_END = b"</IfModule>\n\n# END WordPress\n"


@pytest.fixture(scope="module")
def target_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    """A site with plain permalinks, and with rules of its own only."""
    with running_source_site(mariadb_server, host="plain.localhost", title=OLD, posts=2, upload_bytes=500_000) as target:
        target.sql("UPDATE wp_options SET option_value = '' WHERE option_name = 'permalink_structure'")
        yield target


async def staged(restore: Restoring) -> FilePlan:
    """All tables sealed, no file."""
    await restore.target.claim()
    await restore.tables()
    plan = await restore.plan(FileChoice(paths=("nothing",)))
    await restore.target.seal(plan, CONTENT_TABLES)
    return plan


async def health(restore: Restoring, state: RestoreState) -> Health:
    async with site_session() as session:
        return await check_health(session, restore.target_site, state)


def said_by_wordpress(site: SourceSite, before: bytes, place: Path) -> bytes:
    """What WordPress itself makes of a file with this content, with the permalinks the site has."""
    place.write_bytes(before)
    code = (
        "$_SERVER['HTTP_HOST'] = 'x'; require $argv[1] . '/wp-load.php'; require ABSPATH . 'wp-admin/includes/misc.php';"
        "insert_with_markers($argv[2], 'WordPress', explode(\"\\n\", $GLOBALS['wp_rewrite']->mod_rewrite_rules()));"
    )
    run = ["php", "-d", "memory_limit=256M", "-r", code, "--", str(site.docroot), str(place)]
    subprocess.run(run, check=True, capture_output=True, timeout=60)
    return place.read_bytes()


async def test_the_rules_are_written_as_wordpress_writes_them_and_taken_back(
    source_site: SourceSite, target_site: SourceSite, tmp_path: Path
) -> None:
    rules = target_site.docroot / ".htaccess"
    async with restoring(source_site, target_site) as restore:
        plan = await staged(restore)
        for before in (_OWN, _OWN + _EMPTY + b"# behind", None):
            rules.unlink(missing_ok=True)
            about = None
            if before is not None:
                target_site.put(".htaccess", before).chmod(0o604)
                about = rules.stat()
            await restore.target.seal(plan, CONTENT_TABLES)
            state = (await restore.target.swap(expected=None)).state
            assert state.rules == "written"
            made = rules.read_bytes()
            assert made.replace(b"\r", b"").strip() == said_by_wordpress(source_site, before or b"", tmp_path / "rules").strip()
            head, tail = (before or b"").replace(_EMPTY, b"\0").partition(b"\0")[::2]
            assert made.startswith(head)
            assert made.endswith(_END + tail)
            assert made.count(_BEGIN) == 1
            assert rules.stat().st_mode & 0o777 == (0o604 if before is not None else 0o644)
            seen = await health(restore, state)
            assert seen.ok, seen.findings
            assert ("post", 200) in [(page.name, page.status) for page in seen.pages]
            await restore.target.rollback()
            assert (rules.read_bytes() if rules.exists() else None) == before
            if about is not None:
                assert (rules.stat().st_ino, rules.stat().st_mode, rules.stat().st_uid) == (
                    about.st_ino,
                    about.st_mode,
                    about.st_uid,
                )
            assert list(target_site.docroot.glob(".htaccess?*")) == []
            assert (await home_page(target_site))[0] == 200


async def test_killed_around_the_rules_a_site_has_the_old_file_or_the_new_and_then_the_right_one(
    source_site: SourceSite, target_site: SourceSite
) -> None:
    rules = target_site.put(".htaccess", _OWN)
    async with dying_agent_of(target_site) as agent, restoring(source_site, target_site, through=agent.client) as restore:
        one = Staged(target_site, restore, agent, await staged(restore), content(target_site))
        there = await one.dying("swap", 100_000)
        new = rules.read_bytes()
        assert new.startswith(_OWN + b"\n" + _BEGIN)
        back = await one.dying("undo", 100_000)
        assert rules.read_bytes() == _OWN
        await one.restore.target.seal(one.plan, CONTENT_TABLES)
        inode, found = rules.stat().st_ino, set[tuple[str, bytes]]()
        for turn in range(6):
            assert await one.dying("swap", there - turn) == there - turn
            await one.judge_page(whole=False)
            found.add(("there", rules.read_bytes()))
            state = await (await one.claimed()).target.resume()
            assert (state.state, state.rules, rules.read_bytes()) == ("swapped", "written", new)
            seen = await health(restore, state)
            assert seen.ok, seen.findings
            assert await one.dying("undo", 6 + turn) == 6 + turn <= back
            await one.judge_page(whole=False)
            found.add(("back", rules.read_bytes()))
            await (await one.claimed()).target.rollback()
            assert (rules.read_bytes(), rules.stat().st_ino) == (_OWN, inode)
            assert await one.judge_page(whole=True) == "old"
            await one.restore.again(one.fence).target.seal(one.plan, CONTENT_TABLES)
        assert found == {(way, text) for way in ("there", "back") for text in (_OWN, new)}


@pytest.mark.root
async def test_a_file_that_may_not_be_written_is_told_and_left(source_site: SourceSite, target_site: SourceSite) -> None:
    rules = target_site.put(".htaccess", _OWN)
    os.chown(rules, 0, 0)
    try:
        async with restoring(source_site, target_site) as restore:
            await staged(restore)
            state = (await restore.target.swap(expected=None)).state
            assert (state.rules, rules.read_bytes()) == ("not_writable", _OWN)
            assert (await health(restore, state)).findings == ("post: status 404",)
            await restore.target.rollback()
            assert (rules.read_bytes(), rules.stat().st_uid) == (_OWN, 0)
    finally:
        rules.unlink()
