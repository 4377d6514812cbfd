"""The real copy of a real site, its agent behind a bad line; and a worker in its middle that sleeps past its lease and wakes."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest
from yarl import URL

from tests.integration.conftest import source_site
from tests.integration.test_copy_files import _SCRIPT, _tree
from tests.integration.test_copy_tables import Target
from tests.integration.test_copy_through_faults import Trouble, agent_behind, copied_despite, cuts, place, silences, target
from tests.support.chaos_table import note
from tests.support.fault_proxy import fault_proxy
from tests.support.history import Findings
from tests.support.places import open_directory
from tests.support.source_site import SourceSite, agent_of
from tests.support.wait import until_async
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect

__all__ = ["place", "source_site", "target"]  # fixtures


async def copied_often(source: SourceSite, target: Target, trouble: Trouble, copies: int, *, silence: float = 60.0) -> None:
    connections = 0
    for seed in range(copies):
        with open_directory("faults") as directory:
            connections += await copied_despite(source, target, directory, trouble, seed=seed, silence=silence)
        for (table,) in target.sql("SHOW TABLES"):
            target.sql(f"DROP TABLE `{table}`")
    print(f"{connections} connections for {copies} copies")


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_copies_over_a_line_that_is_cut_are_the_source_byte_for_byte(source_site: SourceSite, target: Target) -> None:
    await copied_often(source_site, target, cuts, 10)
    note("Real copies, the agent's line cut, reset and slow", Findings(10))


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_copies_from_an_agent_that_falls_silent_are_the_source_byte_for_byte(
    source_site: SourceSite, target: Target
) -> None:
    await copied_often(source_site, target, silences, 10, silence=1.0)
    note("Real copies, the agent half-open again and again", Findings(10))


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_copier_of_files_that_sleeps_and_wakes_writes_nothing(source_site: SourceSite, place: Path) -> None:
    """Its fence is overtaken while it is stopped; then it goes on where it was, with data of its own on the way."""
    port = URL(source_site.url).port
    assert port is not None
    with fault_proxy(port) as proxy:
        proxy.faults.delay = 0.02
        for number in range(1, 21, 2):
            async with agent_behind(source_site, proxy) as agent:
                zombie = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", _SCRIPT, agent.address.url, agent.address.key.hex(), str(place), str(number),
                    stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                await until_async(lambda least=1500 * number: _grown(place, least), within=60, every=0.002)  # type: ignore[misc]
                zombie.send_signal(signal.SIGSTOP)
                async with agent_of(source_site) as other:
                    newer = Fence(place / "state", number + 1)
                    await copy_files(other, await inspect(other), place / "root", fence=newer, progress=lambda _counts: None)
                before = _tree(place / "root")
                zombie.send_signal(signal.SIGCONT)
                _, said = await asyncio.wait_for(zombie.communicate(), 120)
            assert zombie.returncode == 1
            # The newer claim also removes what the older one had begun, so that its next call may find nothing to write to.
            assert b"FencedOff" in said or b"FileNotFoundError" in said, said.decode()
            assert _tree(place / "root") == before
            for name in ("state", "root"):
                shutil.rmtree(place / name)
    note("R3 SIGSTOP in the middle of a real copy of files, then SIGCONT", Findings(10))


async def _grown(place: Path, least: int) -> bool:
    """Whether so many bytes of its list of files are written."""
    copied = place / "state" / "copied"
    return copied.exists() and copied.stat().st_size > least
