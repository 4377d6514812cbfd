"""A source behind a bad line: answers cut, resets, delays, silence. A copy takes longer and is the same byte for byte."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
from yarl import URL

from tests.integration.test_copy_files import _expected, _tree
from tests.integration.test_copy_tables import Target, _assert_equal, _tables, target
from tests.support.fault_proxy import Direction, FaultProxy, fault_proxy
from tests.support.places import open_directory
from tests.support.source_site import SourceSite, site_session
from workers.outcomes import judge
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.tables import copy_tables

__all__ = ["target"]  # a fixture

ATTEMPTS = 4
"""How often a step asks again when its agent gave up, as in the clone's plan."""

Trouble = Callable[[FaultProxy, random.Random], Coroutine[object, object, None]]


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("faults") as directory:
        yield directory


@asynccontextmanager
async def agent_behind(source: SourceSite, proxy: FaultProxy, *, silence: float = 60.0) -> AsyncIterator[AgentClient]:
    """A client that reaches a new agent of the source through the proxy, and waits so many seconds for a sign of life."""
    address = source.put_agent()
    try:
        async with site_session(silence=silence) as session:
            url = URL(address.url).with_port(proxy.port)
            yield AgentClient(session, AgentAddress(str(url), address.key))
    finally:
        (source.docroot / URL(address.url).name).unlink(missing_ok=True)


async def copied_despite(
    source: SourceSite, target: Target, place: Path, trouble: Trouble, *, seed: int, silence: float = 60.0
) -> int:
    """Files and rows of the source, while `trouble` goes on between: equal in the end. How many connections it took."""
    with fault_proxy(_port(source)) as proxy:
        async with agent_behind(source, proxy, silence=silence) as agent:
            report = await inspect(agent)
            async with spoilt(trouble(proxy, random.Random(seed))):
                await again(
                    lambda n: copy_files(agent, report, place / "root", fence=Fence(place / "state", n), progress=_ignore)
                )
            async with spoilt(trouble(proxy, random.Random(seed))):
                await again(lambda n: copy_tables(agent, report, target.database, rewriter=None, fence=n, progress=_ignore))
            assert _tree(place / "root") == _expected(source, agent)
        _assert_equal(source, target, _tables(source))
        return proxy.connections


@asynccontextmanager
async def spoilt(trouble: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """While `trouble` goes on."""
    spoiling = asyncio.ensure_future(trouble)
    try:
        yield
    finally:
        spoiling.cancel()
        await asyncio.gather(spoiling, return_exceptions=True)


def _port(source: SourceSite) -> int:
    port = URL(source.url).port
    assert port is not None
    return port


async def again(copy: Callable[[int], Awaitable[object]]) -> None:
    """Copy, each time as a newer claim, until the agent did not give up."""
    for number in range(1, ATTEMPTS + 1):
        try:
            await copy(number)
        except SiteError as error:
            if not error.transient or number == ATTEMPTS:
                raise
        else:
            return


def _ignore(_counts: Counts) -> None:
    """Nobody looks."""


async def cuts(proxy: FaultProxy, chance: random.Random) -> None:
    """Everything is slow, and again and again a question is cut, an answer early, one late: by bytes, however fast all is."""
    proxy.faults.delay = 0.001
    proxy.faults.then = (
        {Direction.TO_SERVER: chance.randrange(1, 600)} if most == 0 else {Direction.TO_CLIENT: chance.randrange(1, most)}
        for most in cycle([0, 600_000, 25_000_000])
    )
    proxy.faults.cut_after = next(proxy.faults.then)


@pytest.mark.timeout(300)
async def test_a_copy_over_a_line_that_is_cut_again_and_again_is_the_source_byte_for_byte(
    source_site: SourceSite, target: Target, place: Path
) -> None:
    assert await copied_despite(source_site, target, place, cuts, seed=7) > 10


async def silences(proxy: FaultProxy, chance: random.Random, *, most: int = 10_000) -> None:
    """For moments, between good ones, nothing comes through while every connection stays open, one way or both."""
    for _ in range(most):
        await asyncio.sleep(chance.uniform(0.1, 0.3))
        proxy.faults.swallow = set(chance.sample(list(Direction), chance.randint(1, 2)))
        await asyncio.sleep(0.2)
        proxy.faults.swallow = set()


async def few_silences(proxy: FaultProxy, chance: random.Random) -> None:
    """Three of them."""
    await silences(proxy, chance, most=3)


@pytest.mark.timeout(300)
async def test_a_copy_from_an_agent_that_falls_silent_is_the_source_byte_for_byte(
    source_site: SourceSite, target: Target, place: Path
) -> None:
    assert await copied_despite(source_site, target, place, few_silences, seed=7, silence=1.0) > 1


async def test_an_agent_that_takes_connections_and_says_nothing_is_told_as_such_in_time(source_site: SourceSite) -> None:
    with fault_proxy(_port(source_site)) as proxy:
        async with agent_behind(source_site, proxy, silence=2.0) as agent:
            await agent.hello()
            for way in Direction:
                proxy.faults.swallow = {way}
                async with asyncio.timeout(20):
                    with pytest.raises(SiteError) as caught:
                        await agent.hello()
                failure = judge(caught.value, step="copy_files")
                assert (failure.error.reason, failure.error.message) == ("SOURCE_UNREACHABLE", "The site stopped answering.")
                assert (failure.is_final, failure.error.metadata) == (False, {"host": URL(source_site.url).host})
                proxy.faults.swallow = set()
