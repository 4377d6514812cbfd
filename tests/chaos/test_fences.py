"""Each fence and each order by itself: what an overtaken writer may still do, and when a ring may be acknowledged."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.places import open_directory
from tests.support.servers import Mariadb
from tests.unit.workers.desk import Desk
from tests.unit.workers.test_consumer import Station
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Claim
from wpclone.core.jobs.states import Priority
from wpclone.wordpress.agent.wire import Entry, Part
from wpclone.wordpress.control import Control
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.fence import Fence
from wpclone.wordpress.file_state import Indexed
from wpclone.wordpress.file_writer import TreeWriter
from wpclone.wordpress.target import TargetDatabase, connected


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
        Fence(place / "state", 3).claim()
    assert files(place) == []
    assert writer(place, Fence(place / "state", 4)).write([(item(b"a"), WHOLE)])[0][1].state == "ok"


def test_a_writer_that_is_overtaken_while_it_writes_gives_no_file_its_name(place: Path) -> None:
    old = writer(place, Overtaken(place / "state", 3, after=1))
    with pytest.raises(FencedOff):
        old.write([(item(b"a"), WHOLE)])
    assert "a" not in files(place)
    writer(place, Fence(place / "state", 4)).write([(item(b"a"), WHOLE)])
    assert files(place) == ["a"]


async def test_an_older_claim_of_a_database_writes_nothing_and_ends_nobodys_connection(
    mariadb_server: Mariadb, database: str
) -> None:
    target = TargetDatabase("root", mariadb_server.password, database, port=mariadb_server.place.port)
    async with connected(target, binary=True) as newer:
        await Control(3).claim(newer)
        await Control(4).claim(newer)
        async with connected(target, binary=True) as late:
            await late.begin()
            with pytest.raises(FencedOff):
                await Control(3).check(late)
            await late.rollback()
            with pytest.raises(FencedOff):
                async with Control(3).holding(late):
                    pytest.fail("it was let in")
            with pytest.raises(FencedOff):
                await Control(3).claim(late)
        await newer.begin()
        await Control(4).check(newer)
        await newer.commit()


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
