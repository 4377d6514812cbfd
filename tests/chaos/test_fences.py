"""Each fence and each order by itself: what an overtaken writer may still do, and when a ring may be acknowledged."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.places import open_directory
from tests.unit.workers.desk import Desk
from tests.unit.workers.test_consumer import Station
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Claim
from wpclone.core.jobs.states import Priority
from wpclone.wordpress.agent.wire import Entry, Part
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.fence import Fence
from wpclone.wordpress.file_state import Indexed
from wpclone.wordpress.file_writer import TreeWriter
from wpclone.wordpress.files import copy_files
from wpclone.wordpress.htaccess import adapt
from wpclone.wordpress.roots import Root


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("fences") as directory:
        yield directory


@dataclass(frozen=True)
class Overtaken(Fence):
    """A fence whose place is taken by a newer claim right after its nth look."""

    after: int = 0
    looks: list[int] = field(default_factory=list)

    def check(self) -> None:
        super().check()
        self.looks.append(1)
        if len(self.looks) == self.after:
            Fence(self.path, self.number + 1).claim()


def item(name: bytes, kind: str = "f", target: bytes = b"") -> Indexed:
    return Indexed(1, 0, Entry(kind, name, 4, 1, 0o644, target), name)


WHOLE = Part(0, 0, True, 4, 1, 0, memoryview(b"text"))


def writer(place: Path, fence: Fence) -> TreeWriter:
    made = TreeWriter(place / "root", fence)
    made.begin()
    return made


def files(place: Path) -> list[str]:
    """Every file and link below the root, those being written too."""
    return sorted(name for _, _, names in os.walk(place / "root") for name in names)


def test_a_writer_whose_fence_is_old_writes_nothing_at_all(place: Path) -> None:
    old = writer(place, Fence(place / "state", 3))
    Fence(place / "state", 4).claim()
    with pytest.raises(FencedOff):
        old.write([(item(b"a"), WHOLE)])
    with pytest.raises(FencedOff):
        old.link(b"l", b"")
    with pytest.raises(FencedOff):
        old.empty_place(b"near")
    with pytest.raises(FencedOff):
        Fence(place / "state", 3).claim()
    assert files(place) == []
    assert writer(place, Fence(place / "state", 4)).write([(item(b"a"), WHOLE)])[0][1].state == "ok"


def test_a_writer_that_is_overtaken_while_it_writes_gives_no_file_its_name(place: Path) -> None:
    old = writer(place, Overtaken(place / "state", 3, after=2))  # it looks when it begins, before it writes, before it names
    with pytest.raises(FencedOff):
        old.write([(item(b"a"), WHOLE)])
    assert "a" not in files(place)
    writer(place, Fence(place / "state", 4)).write([(item(b"a"), WHOLE)])
    assert files(place) == ["a"]


def test_a_writer_that_begins_late_leaves_a_newer_one_its_files(place: Path) -> None:
    newer = Fence(place / "state", 4)
    newer.claim()
    at_work = writer(place, newer)
    with pytest.raises(FencedOff):
        writer(place, Fence(place / "state", 3))
    assert at_work.write([(item(b"a"), WHOLE)])[0][1].state == "ok"


def test_an_older_claim_that_was_at_the_rules_of_the_web_server_leaves_them_as_they_are(place: Path) -> None:
    rules = b"RewriteEngine On\nRewriteRule ^ https://elsewhere.example/ [R]\n"
    (place / ".htaccess").write_bytes(rules)
    Fence(place / "state", 4).claim()
    with pytest.raises(FencedOff):
        adapt(place, Fence(place / "state", 3), path="", has_permalinks=True)
    assert [(file.name, file.read_bytes()) for file in place.iterdir() if file.is_file()] == [(".htaccess", rules)]
    adapt(place, Fence(place / "state", 4), path="", has_permalinks=True)
    assert b"elsewhere" not in (place / ".htaccess").read_bytes()


def test_a_fence_is_looked_at_each_time_and_one_that_is_gone_keeps_its_holder_out(place: Path) -> None:
    fence = Fence(place / "state", 3)
    fence.claim()
    fence.check()
    Fence(place / "state", 4).claim()
    with pytest.raises(FencedOff):
        fence.check()
    newer = Fence(place / "state", 4)
    newer.claim()
    shutil.rmtree(place / "state")
    with pytest.raises(FencedOff):
        newer.check()


def test_of_two_claims_at_once_the_newer_one_stands(place: Path) -> None:
    newer = Fence(place / "state", 4)
    claiming = threading.Thread(target=newer.claim)

    class Slow(Fence):
        """Between its look and its number, a newer claim comes: it has to wait, which is all that can be seen of it."""

        def check(self) -> None:
            super().check()
            claiming.start()
            claiming.join(0.3)

    Slow(place / "state", 3).claim()
    claiming.join(20)
    assert (place / "state" / "fence").read_text() == "4"


class Source:
    """A source's index in two parts, and what happens between them: links to nothing, or else directories."""

    def __init__(self, between: Callable[[], None], kind: str) -> None:
        self._between, self._kind = between, kind

    async def index(self, root: str, *, skip: list[bytes]) -> AsyncIterator[list[Entry]]:
        yield [Entry(self._kind, b"early", 0, 1, 0o755, b"")]
        self._between()
        yield [Entry(self._kind, b"later", 0, 1, 0o755, b"")]


async def copied(place: Path, fence: Fence, between: Callable[[], None], kind: str = "x") -> None:
    report: Any = SimpleNamespace(roots=(Root("root", "/srv/site", ""),), siteurl="http://site.example", permalink_structure="")
    agent: Any = Source(between, kind)
    await copy_files(agent, report, place / "root", fence=fence, progress=lambda _counts: None)


def state_of(place: Path) -> dict[str, str]:
    """What a copy remembers, but for the fence."""
    return {file.name: file.read_text() for file in (place / "state").iterdir() if not file.name.startswith("fence")}


async def test_an_older_claim_that_lists_the_source_stops_at_its_next_look(place: Path) -> None:
    with pytest.raises(FencedOff):
        await copied(place, Fence(place / "state", 3), Fence(place / "state", 4).claim)
    assert "index" not in state_of(place)
    assert "later" not in str(state_of(place))


async def test_an_older_claim_forgets_nothing_of_a_newer_ones_list(place: Path) -> None:
    class LateFence(Fence):
        """Overtaken as soon as it has its number."""

        def claim(self) -> None:
            super().claim()
            Fence(self.path, self.number + 1).claim()
            (self.path / "index").write_text("the newer claim's, not yet complete")
            (self.path / "copied").write_text("the newer claim's")

    with pytest.raises(FencedOff):
        await copied(place, LateFence(place / "state", 3), lambda: None)
    assert state_of(place) == {"index": "the newer claim's, not yet complete", "copied": "the newer claim's"}


async def test_what_an_older_claim_still_has_to_write_reaches_no_newer_list(place: Path) -> None:
    """It was frozen after its last look at the fence: its buffer is written, and its list is not the one that counts."""
    newer: list[dict[str, str]] = []

    class BlindFence(Fence):
        def check(self) -> None:
            if not newer:
                super().check()

    def overtaken() -> None:
        fence = Fence(place / "state", 4)
        running = asyncio.new_event_loop()
        thread = threading.Thread(target=lambda: running.run_until_complete(copied(place, fence, lambda: None, "d")))
        thread.start()
        thread.join(20)
        running.close()
        newer.append(state_of(place))

    with pytest.raises(FileNotFoundError):
        await copied(place, BlindFence(place / "state", 3), overtaken)
    assert state_of(place)["index"] == newer[0]["index"]


async def test_an_older_claim_that_finds_its_things_cleared_away_knows_why(place: Path) -> None:
    def cleared() -> None:
        for file in (place / "state").glob("index*"):
            file.unlink()

    class LastLook(Fence):
        """Overtaken after its second look at the source's list, and not before."""

        def check(self) -> None:
            super().check()
            looks.append(1)
            if len(looks) == 4:  # claiming, beginning the list, and each of its two parts
                Fence(self.path, self.number + 1).claim()

    looks: list[int] = []
    with pytest.raises(FencedOff):
        await copied(place, LastLook(place / "state", 3), cleared)
    assert len(looks) == 4


async def test_a_ring_is_not_acknowledged_before_its_claim_has_committed() -> None:
    desk, asked = Desk(), asyncio.Event()
    await desk.accept()

    async def refused(job_id: str, *, worker: str) -> Claim | None:
        asked.set()
        raise StoreUnavailable

    desk.store.claim = refused  # type: ignore[method-assign]
    station = Station(desk)
    async with station.working(desk.three_steps()):
        await station.ring(1)
        async with asyncio.timeout(20):
            await asked.wait()
        for _ in range(50):
            await asyncio.sleep(0)
    assert len(desk.bus._queues[Priority.NORMAL].letters) == 1
