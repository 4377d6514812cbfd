"""How restore jobs end: refused for want of room or because both ends are one site, or done with what they say they wrote."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_clone_plan import Yard
from tests.support.hosting import running_keeper
from tests.support.places import open_directory
from tests.support.restoring import files
from tests.support.servers import SERVICE, Mariadb
from tests.support.shop import Shop
from tests.support.source_site import running_source_site
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState, KeptState
from wpclone.core.secrets import KeyRing
from wpclone.wordpress.restore.target import RestoreTarget

_ROOM = 60 << 20
_LARGE = 40 << 20


@pytest.fixture(scope="module")
def yard(mariadb_server: Mariadb) -> Iterator[Yard]:
    keys = KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    with (
        running_source_site(mariadb_server, upload_bytes=500_000) as source,
        running_keeper(mariadb_server.place.port) as keeper,
        open_directory("work") as work,
    ):
        SERVICE.own(work)
        yield Yard(source, mariadb_server, keeper, work, keys)


@pytest.fixture
async def shop(yard: Yard) -> AsyncIterator[Shop]:
    """The site and a fresh clone of it. Nothing of a restore is left when a test ends."""
    made = Shop(yard)
    await made.clone()
    yield made
    await made.yard.delete(made.clone_id)
    assert made.traces() == []


def at_target(shop: Shop) -> dict[str, object]:
    """What the target is: a checksum of each table that a visit does not write to, a hash of each file."""
    names = ("wp_posts", "wp_postmeta", "wp_terms", "wp_comments", "wp_users")
    tables: dict[str, object] = {name: shop.at_target(f"CHECKSUM TABLE {name}")[0][1] for name in names}
    return tables | files(shop.yard.source.docroot)


def error(job: Job) -> tuple[str, dict[str, str]]:
    """Why a job failed."""
    assert (job.state, job.needs_attention) == (JobState.FAILED, False)
    assert job.error is not None
    return job.error.reason, dict(job.error.metadata)


@contextmanager
def small_disk(uploads: Path) -> Iterator[None]:
    """The uploads are on a file system of their own, with little room."""
    about = uploads.stat()
    options = f"size={_ROOM},uid={about.st_uid},gid={about.st_gid},mode=755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(uploads)], check=False, timeout=20)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(uploads)], check=True, timeout=20)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The orders to targets that write content."""
    seen: list[str] = []
    order = RestoreTarget.order

    async def noted(target: RestoreTarget, do: str, *data: Any, **more: Any) -> Any:
        if do in ("define", "load", "write", "carry"):
            seen.append(do)
        return await order(target, do, *data, **more)

    monkeypatch.setattr(RestoreTarget, "order", noted)
    return seen


@pytest.mark.root
async def test_files_that_do_not_fit_are_refused_before_the_first_byte_of_anything(shop: Shop, written: list[str]) -> None:
    uploads = shop.yard.source.docroot / "wp-content" / "uploads"
    shop.at_clone("UPDATE wp_posts SET post_title = 'Does not fit' WHERE ID = 1")
    shop.write_clone("wp-content/uploads/large.bin", bytes(_LARGE))
    with small_disk(uploads):
        before = at_target(shop)
        for asked in ({}, {"dry_run": True}):
            reason, metadata = error(await shop.restore(**asked))
            assert reason == "TARGET_TOO_SMALL"
            assert _LARGE < int(metadata["free_bytes"]) <= _ROOM < int(metadata["needed_bytes"]), "the file alone would fit"
            assert (written, at_target(shop), shop.traces()) == ([], before, [])
        shop.write_clone("wp-content/uploads/large.bin", bytes(_LARGE // 4))
        job = await shop.restore()
        assert (job.state, (uploads / "large.bin").stat().st_size) == (JobState.COMPLETED, _LARGE // 4)
        assert {"define", "load", "write"} <= set(written)
        assert (await shop.leave(job, KeptState.RELEASED)).state is JobState.COMPLETED


@pytest.mark.root
@pytest.mark.full
async def test_files_that_the_target_has_already_take_no_room(shop: Shop) -> None:
    uploads = shop.yard.source.docroot / "wp-content" / "uploads"
    shop.write_clone("wp-content/uploads/same.bin", b"x" * (_LARGE // 2))
    with small_disk(uploads):
        shop.yard.source.put("wp-content/uploads/same.bin", b"y" * (_LARGE // 2))
        assert error(await shop.restore(dry_run=True))[0] == "TARGET_TOO_SMALL"
        shop.yard.source.put("wp-content/uploads/same.bin", b"x" * (_LARGE // 2))
        job = await shop.restore(dry_run=True)
        assert job.state is JobState.COMPLETED


async def test_a_clone_is_not_restored_onto_itself_and_stays_what_it_was(shop: Shop, written: list[str]) -> None:
    def clone() -> tuple[object, ...]:
        sums = [shop.at_clone(f"CHECKSUM TABLE {name}")[0][1] for name in ("wp_posts", "wp_postmeta", "wp_terms", "wp_users")]
        tables = [row[0] for row in shop.at_clone("SHOW TABLES")]
        docroot = Path(shop.yard.keeper.ask("describe", clone_id=shop.clone_id)["docroot"])
        return sums, tables, files(docroot), sorted(path.name for path in docroot.glob("wp-content/*"))

    given, before = await shop.clone_agent_given(), clone()
    for asked in ({}, {"dry_run": True}):
        job = await shop.restore(target_url=given["url"], target_kind="agent", target={"agent_key": given["key"]}, **asked)
        assert error(job)[0] == "RESTORE_ONTO_ITSELF"
        assert (written, clone(), shop.traces()) == ([], before, [])


async def test_the_report_has_sums_of_each_directory_that_was_written_as_it_lies_at_the_target(shop: Shop) -> None:
    content = shop.yard.source.docroot / "wp-content"
    changed = {
        "uploads/a.txt": b"one",
        "uploads/2031/b.txt": b"two",
        "uploads/2031/05/c.txt": bytes(9000),
        "languages/de.mo": b"x",
    }
    for name, data in changed.items():
        shop.write_clone(f"wp-content/{name}", data)
    job = await shop.restore()
    assert job.state is JobState.COMPLETED, job.error
    report = (job.result or {})["report"]
    assert "directories" not in report["files"]
    assert report["files"]["added"] == len(changed)
    expected: dict[str, list[int]] = {}
    for name in changed:
        path = f"wp-content/{name}"
        directory = "/".join(path.split("/")[:-1][:3])
        line = f"{path}\0{hashlib.sha256((content / name).read_bytes()).hexdigest()}"
        sums = expected.setdefault(directory, [0, 0, 0])
        sums[0] += 1
        sums[1] += (content / name).stat().st_size
        sums[2] = (sums[2] + int.from_bytes(hashlib.sha256(line.encode()).digest(), "big")) % (1 << 256)
    assert report["integrity"]["directories"] == [
        {"path": path, "files": count, "bytes": size, "digest": f"{digest:064x}"}
        for path, (count, size, digest) in sorted(expected.items())
    ]
    assert await asyncio.to_thread((content / "uploads/2031/b.txt").read_bytes) == b"two"
    assert (await shop.leave(job, KeptState.RELEASED)).state is JobState.COMPLETED


_VERSIONS = (
    ("acme_db_version", ("2.10.0", "2.9.1")),
    ("newer_version", ("1.9", "1.10")),
    ("words_version", ("latest", "earlier")),
    ("acme_license_version", ("3.0", "1.0")),
)
"""Options by what they are at the target and at the clone; the last one stays the target's."""


async def test_pretty_permalinks_come_to_a_site_with_plain_ones_and_versions_that_fell_behind_are_told(shop: Shop) -> None:
    rules = shop.yard.source.docroot / ".htaccess"
    own = rules.read_bytes()
    structure = "UPDATE wp_options SET option_value = %s WHERE option_name = 'permalink_structure'"
    before = b"SetEnv PRODUCTION yes\r\n"
    try:
        shop.at_target(structure, "")
        for name, version in _VERSIONS:
            shop.at_target("REPLACE INTO wp_options (option_name, option_value) VALUES (%s, %s)", name, version[0])
        await shop.clone_again()
        for name, version in _VERSIONS:
            shop.at_clone("UPDATE wp_options SET option_value = %s WHERE option_name = %s", version[1], name)
        rules.write_bytes(before)
        shop.at_clone(structure, "/%postname%/")
        job = await shop.restore()
        assert job.state is JobState.COMPLETED, job.error
        report = (job.result or {})["report"]
        assert report["permalink_rules"] == "written"
        assert report["versions_behind"] == [{"option": "acme_db_version", "was": "2.10.0", "is": "2.9.1"}]
        assert {page["name"]: page["status"] for page in report["pages"]}["post"] == 200
        assert rules.read_bytes().startswith(before + b"\n# BEGIN WordPress\n")
        assert (await shop.leave(job, KeptState.ROLLED_BACK)).state is JobState.COMPLETED
        assert rules.read_bytes() == before
    finally:
        shop.at_target(structure, "/%postname%/")
        rules.write_bytes(own)
        for name, _ in _VERSIONS:
            shop.at_target("DELETE FROM wp_options WHERE option_name = %s", name)
