"""Volumes of a source: deselected by default, run by `make chaos`."""

import asyncio
import hashlib
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_copy_files import _copy
from tests.integration.test_copy_tables import Target, target
from tests.support.places import open_directory
from tests.support.servers import SERVICE
from tests.support.source_site import SourceSite, agent_of
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.tables import copy_tables

__all__ = ["target"]
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

FILES = 100_000
ROWS = 3_000_000


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("volume") as directory:
        yield directory


def _sums(root: Path) -> dict[str, str]:
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


async def test_a_hundred_thousand_small_files_arrive(source_site: SourceSite, place: Path) -> None:
    many = source_site.docroot / "wp-content" / "uploads" / "many"
    try:
        many.mkdir()
        for group in range(200):
            directory = many / f"{group:03}"
            directory.mkdir()
            for number in range(FILES // 200):
                (directory / f"{number}.txt").write_bytes(b"%d-%d" % (group, number))
        for path in [many, *many.rglob("*")]:
            SERVICE.own(path)
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, place)
        assert copied.files > FILES
        there, here = place / "root" / "wp-content/uploads/many", many
        assert await asyncio.to_thread(_sums, there) == await asyncio.to_thread(_sums, here)
    finally:  # within this test's time limit: whoever removes the source or the copy has a shorter one
        for made in (many, place / "root"):
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


async def test_millions_of_small_rows_arrive_in_flat_memory(source_site: SourceSite, target: Target) -> None:
    source_site.sql("CREATE TABLE wp_small (id bigint unsigned NOT NULL PRIMARY KEY, v varchar(20), KEY v (v))")
    for start in range(1, ROWS, 500_000):
        source_site.sql(f"INSERT INTO wp_small SELECT seq, LEFT(MD5(seq), 20) FROM seq_{start}_to_{start + 499_999}")
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await copy_tables(agent, report, target.database, rewriter=None, fence=1, progress=lambda counts: None)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        sums = "SELECT COUNT(*), SUM(CRC32(CONCAT(id, v))) FROM wp_small"
        assert target.sql(sums) == source_site.sql(sums)
    finally:
        source_site.sql("DROP TABLE wp_small")
    assert grown < 150, f"{grown:.0f} MB"
