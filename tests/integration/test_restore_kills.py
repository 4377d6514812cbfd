"""PHP is killed at points of an exchange: the next claim always finds, or makes, one whole site, the old or the new."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from yarl import URL

from tests.support.dying_agent import DyingAgent, dying_agent_of
from tests.support.restoring import CONTENT_TABLES, RESTORE_ID, Restoring, content, restoring
from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from wpclone.wordpress.agent.wire import encoded
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.restore.file_plan import FilePlan

OLD, NEW = "Production", "A sample of everything"


@pytest.fixture(scope="module")
def target_site(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    with running_source_site(mariadb_server, host="killed.localhost", title=OLD, posts=2, upload_bytes=500_000) as target:
        yield target


@dataclass
class Staged:
    """A sealed restore to a target whose PHP dies on demand. `recovery`: seconds from each death to one whole set of content."""

    site: SourceSite
    restore: Restoring
    agent: DyingAgent
    plan: FilePlan
    old: dict[str, object]
    fence: int = 1
    recovery: list[float] = field(default_factory=list)

    async def dying(self, do: str, point: int, **more: object) -> int:
        """An order, repeated while it is not done, whose process dies at a point; how many points it passed."""
        self.agent.dies_at(point)
        order = {"verb": "restore", "do": do, "id": RESTORE_ID, "fence": self.fence, **more}
        try:
            while (await self._once(order))[-1]["state"] in ("switching", "undoing"):
                continue
        except SiteError:
            return point
        finally:
            left = self.agent.left
            self.agent.dies_at(0)
        return point - left

    async def _once(self, order: dict[str, object]) -> list[dict[str, object]]:
        """Ask, and again only while the request before, though answered, still holds the restore's lock."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return await self.agent.client.order_once(order)
            except SiteError as error:
                if error.metadata.get("agent") != "BUSY" or time.monotonic() > deadline:
                    raise

    async def marks(self) -> list[list[str]]:
        """What the target's tables are now, as an order says it."""
        marks = await self.restore.again(self.fence).target.marks(CONTENT_TABLES)
        return [[encoded(name.encode()), mark] for name, mark in marks.items()]

    async def claimed(self) -> Restoring:
        """The restore by the next claim."""
        self.fence += 1
        again = self.restore.again(self.fence)
        await again.target.claim()
        return again

    async def judge_page(self, *, whole: bool) -> str:
        """What visitors get now: `old`, `new`, or, unless the site is to be whole, `maintenance`; anything else fails."""
        async with site_session() as session:
            page = await session.fetch("GET", URL(self.site.url + "/"))
        text = page.body.decode()
        if page.status == 503 and not whole:
            return "maintenance"
        assert page.status == 200, (page.status, text[:300])
        assert "</html>" in text
        assert (OLD in text) != (NEW in text)
        return "old" if OLD in text else "new"


@pytest.fixture
async def staged(source_site: SourceSite, target_site: SourceSite) -> AsyncIterator[Staged]:
    old = content(target_site)
    async with dying_agent_of(target_site) as agent, restoring(source_site, target_site, through=agent.client) as restore:
        plan = await restore.sealed()
        yield Staged(target_site, restore, agent, plan, old)


async def _exchange_dying_at(staged: Staged, point: int, new: dict[str, object]) -> int:
    passed = await staged.dying("swap", point, expected=await staged.marks())
    died = time.monotonic()
    await staged.judge_page(whole=False)
    restore = await staged.claimed()
    state = await restore.target.resume()
    staged.recovery.append(time.monotonic() - died)
    if state.state == "staged":
        assert content(staged.site) == staged.old
        assert await staged.judge_page(whole=True) == "old"
        state = (await restore.target.swap(expected=None)).state
    assert state.state == "swapped"
    assert await staged.judge_page(whole=False) == "maintenance"
    assert content(staged.site) == new
    return passed


async def _undo_dying_at(staged: Staged, point: int) -> int:
    passed = await staged.dying("undo", point)
    died = time.monotonic()
    await staged.judge_page(whole=False)
    restore = await staged.claimed()
    assert (await restore.target.rollback()).state == "rolled_back"
    staged.recovery.append(time.monotonic() - died)
    assert content(staged.site) == staged.old
    assert await staged.judge_page(whole=True) == "old"
    await restore.target.seal(staged.plan, CONTENT_TABLES)
    return passed


async def _count(staged: Staged) -> tuple[int, int, dict[str, object]]:
    """How many points an exchange and the way back have, and what the new content is."""
    there = await staged.dying("swap", 100_000, expected=await staged.marks())
    assert (await staged.restore.again(staged.fence).target.state()).state == "swapped"
    new = content(staged.site)
    back = await staged.dying("undo", 100_000)
    assert content(staged.site) == staged.old
    await staged.restore.target.seal(staged.plan, CONTENT_TABLES)
    return there, back, new


def _chosen(points: int, *, all_of_them: bool) -> list[int]:
    """Points to die at: the first and last ones, where the journal and the tables are, and some of the many files' between."""
    if not all_of_them:
        return [2, 3, 6, 13, points // 2, points - 3, points - 1, points]
    edge = 40
    return [*range(1, edge + 1), *range(edge + 1, points - edge, max(1, points // 12)), *range(points - edge, points + 1)]


async def kill_at(staged: Staged, *, all_of_them: bool) -> None:
    there, back, new = await _count(staged)
    forwards, backwards = _chosen(there, all_of_them=all_of_them), _chosen(back, all_of_them=all_of_them)
    for turn in range(max(len(forwards), len(backwards))):
        point = forwards[turn % len(forwards)]
        assert await _exchange_dying_at(staged, point, new) == point
        point = backwards[turn % len(backwards)]
        assert await _undo_dying_at(staged, point) == point
    restore = staged.restore.again(staged.fence)
    await restore.target.swap(expected=None)
    await restore.target.go_live()
    assert await staged.judge_page(whole=True) == "new"


@pytest.mark.timeout(400)
async def test_killed_at_any_point_the_site_is_old_or_new(staged: Staged) -> None:
    await kill_at(staged, all_of_them=False)
