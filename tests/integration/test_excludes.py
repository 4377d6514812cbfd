"""What a caller excludes is in no copy, is counted before anything is copied, and never is what WordPress needs."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import open_directory
from tests.support.source_site import SourceSite, agent_of
from wpclone.wordpress import excludes
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.excludes import Excluded, Excludes
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import SiteReport, inspect

PATHS = ("wp-content/uploads/old", "*.zip", "no/such/place")


@pytest.fixture
def crowded(source_site: SourceSite) -> Iterator[SourceSite]:
    """The source with files and tables that somebody may not want."""
    files = [source_site.put(f"wp-content/uploads/{name}", b"x" * 100) for name in ("old/1.txt", "old/deep/2.txt", "a.zip")]
    prefix = "wp_"
    source_site.sql(f"CREATE TABLE {prefix}stats_visits (id INT PRIMARY KEY)")
    source_site.sql(f"CREATE TABLE {prefix}shop (id INT PRIMARY KEY)")
    try:
        yield source_site
    finally:
        source_site.sql(f"DROP TABLE {prefix}stats_visits, {prefix}shop")
        for file in files:
            file.unlink()
        for directory in ("old/deep", "old"):
            os.rmdir(source_site.docroot / "wp-content" / "uploads" / directory)


async def test_excluded_files_and_tables_are_counted_and_not_copied(crowded: SourceSite) -> None:
    asked = Excludes(PATHS, ("stats_*",))
    prefix = "wp_"
    async with agent_of(crowded) as agent:
        whole, part = await inspect(agent), await inspect(agent, exclude=asked)
        with open_directory("copy") as place:
            fence = Fence(place / "state", 1)
            copied = await copy_files(agent, part, place / "root", fence=fence, progress=lambda _: None, exclude=PATHS)
            names = {str(path.relative_to(place / "root")) for path in Path(place / "root").rglob("*")}
    assert part.excluded[:3] == (
        Excluded("path", PATHS[0], 2, 200), Excluded("path", PATHS[1], 1, 100), Excluded("path", PATHS[2], 0, 0),
    )  # fmt: skip
    assert (part.excluded[3].kind, part.excluded[3].count) == ("table", 1)
    assert (whole.files - part.files, whole.file_bytes - part.file_bytes) == (3, 300)
    assert copied.files == part.files
    assert not [name for name in names if name.endswith(".zip") or "uploads/old" in name]
    assert not [item for item in copied.excluded if item.reason == excludes.REASON]
    tables = {table.name for table in part.tables}
    assert {table.name for table in whole.tables} - tables == {f"{prefix}stats_visits"}
    assert (f"{prefix}stats_visits", excludes.REASON) in {(item.name, item.reason) for item in part.left_out}
    assert SiteReport.from_json(part.to_json()) == part


@pytest.mark.parametrize("glob", ["posts", "wp_users", "*"])
async def test_a_table_that_wordpress_needs_is_not_excluded(crowded: SourceSite, glob: str) -> None:
    asked = Excludes(tables=(glob,))
    async with agent_of(crowded) as agent:
        with pytest.raises(SiteError) as raised:
            await inspect(agent, exclude=asked)
    assert raised.value.reason is Reason.CORE_TABLE_EXCLUDED
    assert raised.value.metadata["glob"] == asked.tables[0]


async def test_directories_nested_without_end_are_told_before_anything_is_copied_and_can_be_left_out(
    source_site: SourceSite,
) -> None:
    bottom = source_site.put("wp-content/uploads/again/1.txt", b"x").parent
    here = os.open(bottom, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    subprocess.run(["chown", "-R", f"--reference={bottom.parent}", str(bottom)], check=True, timeout=60)
    leave_out = ("wp-content/uploads/again",)
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent, exclude=Excludes(leave_out))
            with pytest.raises(SiteError) as at_once:
                await inspect(agent)
            with open_directory("copy") as place:
                with pytest.raises(SiteError) as later:
                    await copy_files(agent, report, place / "one", fence=Fence(place / "state1", 1), progress=lambda _: None)
                copied = await copy_files(
                    agent, report, place / "two", fence=Fence(place / "state2", 1), progress=lambda _: None, exclude=leave_out
                )
    finally:
        subprocess.run(["rm", "-rf", str(bottom)], check=True, timeout=60)
    assert at_once.value.reason is later.value.reason is Reason.NESTED_TOO_DEEP
    assert at_once.value.metadata["path"].startswith("wp-content/uploads/again/d/d/")
    assert copied.files == report.files
