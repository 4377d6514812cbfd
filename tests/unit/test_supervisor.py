"""The rule of the second death, with a clock that only moves when told and real children."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.support.wait import until_async
from wpclone.standalone.child import Account, Child
from wpclone.standalone.readiness import ServerNotReady
from wpclone.standalone.supervisor import Part, PartFailed, Supervisor


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A supervisor, and one part that is `sleep`."""

    def __init__(self, place: Path) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.started: list[Child] = []
        self.refuses = False
        self.supervisor = Supervisor(clock=self.clock, say=self.said.append, changed=lambda: None)
        self.place = place

    async def start(self) -> Child:
        if self.refuses:
            raise ServerNotReady("its port is taken")
        child = await Child.start(
            "sleep", ["sleep", "600"], account=Account.current(), env={"PATH": "/usr/bin:/bin"}, log=self.place / "log"
        )
        self.started.append(child)
        return child

    def part(self) -> Part:
        return Part("sleeper", self.start, str(self.place / "log"), grace=5)

    async def kill(self) -> None:
        """Kill the newest child, and wait until the supervisor has dealt with it."""
        count = len(self.started)
        self.started[-1].send(signal.SIGKILL)
        failed = asyncio.ensure_future(self.supervisor.failed())

        async def dealt_with() -> bool:
            return len(self.started) > count or failed.done()

        await until_async(dealt_with, within=10)
        failed.cancel()


async def _failure(scene: Scene) -> PartFailed:
    async with asyncio.timeout(5):
        return await scene.supervisor.failed()


async def test_a_dead_part_is_started_again_with_a_line(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    standing = await scene.supervisor.start(scene.part())
    await scene.kill()
    assert len(scene.started) == 2
    assert scene.started[1].exit_code is None
    assert "sleeper was killed by signal 9; starting it again" in scene.said
    await scene.supervisor.stop(standing)
    assert scene.started[1].exit_code is not None
    assert scene.supervisor.standings == []


@pytest.mark.parametrize(("seconds", "goes_on"), [(59.9, False), (60.0, True)])
async def test_a_second_death_within_a_minute_is_the_end(tmp_path: Path, seconds: float, goes_on: bool) -> None:
    scene = Scene(tmp_path)
    standing = await scene.supervisor.start(scene.part())
    await scene.kill()
    scene.clock.now += seconds
    await scene.kill()
    assert len(scene.started) == (3 if goes_on else 2)
    if not goes_on:
        assert "sleeper was killed by signal 9, the second time within 60 s" in str(await _failure(scene))
    await scene.supervisor.stop(standing)


async def test_only_the_last_two_deaths_count(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    standing = await scene.supervisor.start(scene.part())
    for _ in range(4):
        await scene.kill()
        scene.clock.now += 61
    assert len(scene.started) == 5
    assert standing.restarts == 4
    await scene.supervisor.stop(standing)


async def test_a_part_that_does_not_come_back_is_the_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    standing = await scene.supervisor.start(scene.part())
    scene.refuses = True
    await scene.kill()
    assert str(await _failure(scene)) == "sleeper did not start again: its port is taken"
    await scene.supervisor.stop(standing)


async def test_a_part_that_never_starts_is_not_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.refuses = True
    with pytest.raises(ServerNotReady):
        await scene.supervisor.start(scene.part())
    assert scene.supervisor.standings == []
