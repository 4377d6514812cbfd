"""A place that comes up beside the copy: told beside it, and the end of it only when the place will never come."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.wait import until_holds
from workers import coming_place
from workers.coming_place import ComingPlace
from workers.runtimes import Place, Tell, quietly
from workers.runtimes.memory import MemoryRuntime
from wpclone.core.jobs.errors import Fatal, RetryLater

CLONE = "clone-1a2b3c4d5e6f"
Comes = Callable[[Tell], Awaitable[None]]


class SlowRuntime(MemoryRuntime):
    """Its place is ready once `comes` has returned."""

    def __init__(self, directory: Path, comes: Comes) -> None:
        super().__init__(directory)
        self._comes = comes

    async def ready(self, clone_id: str, tell: Tell = quietly) -> Place:
        await self._comes(tell)
        return await super().ready(clone_id)


class Watched:
    """A coming place and what it told."""

    def __init__(self, directory: Path, comes: Comes) -> None:
        self.told: list[tuple[float, str]] = []
        self.runtime = SlowRuntime(directory, comes)
        self.place = ComingPlace(self.runtime, CLONE, lambda *said: self.told.append(said))

    async def open(self) -> "Watched":
        await self.runtime.create(CLONE)
        return self


async def never(tell: Tell) -> None:
    await asyncio.Event().wait()


async def test_a_copy_does_not_wait_for_its_place(tmp_path: Path) -> None:
    watched = await Watched(tmp_path, never).open()

    async def copying() -> str:
        watched.place.report(0.5, "Copying")
        return "copied"

    assert await watched.place.beside(copying()) == "copied"
    assert watched.told == [(0.5, "Copying")]


async def test_what_the_place_waits_for_is_told_beside_the_copy_until_it_passes(tmp_path: Path) -> None:
    passes = asyncio.Event()

    async def comes(tell: Tell) -> None:
        tell("No node has room.")
        await passes.wait()

    watched = await Watched(tmp_path, comes).open()

    async def copying() -> None:
        watched.place.report(0.25, "Copying 1.")
        await until_holds(lambda: watched.told[-1] == (0.25, "No node has room. Copying 1."), within=10)
        watched.place.report(0.5, "Copying 2.")
        passes.set()
        await until_holds(lambda: watched.told[-1] == (0.5, "Copying 2."), within=10)

    await watched.place.beside(copying())
    assert (0.5, "No node has room. Copying 2.") in watched.told


async def test_a_place_that_will_never_come_ends_the_copy_before_the_step_fails(tmp_path: Path) -> None:
    ended = list[str]()

    async def comes(tell: Tell) -> None:
        raise Fatal("CONTAINER_CRASHES", "It crashes.")

    async def copying() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("copy")

    watched = await Watched(tmp_path, comes).open()
    with pytest.raises(Fatal, match="It crashes"):
        await watched.place.beside(copying())
    assert ended == ["copy"]


async def test_a_place_that_cannot_be_asked_about_is_asked_about_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coming_place, "AGAIN", 0.0)
    asked = list[int]()

    async def comes(tell: Tell) -> None:
        asked.append(1)
        if len(asked) < 3:
            raise RetryLater("CLUSTER_UNAVAILABLE", "Not now.")

    watched = await Watched(tmp_path, comes).open()
    await watched.place.beside(until_holds(lambda: len(asked) == 3, within=10))


async def test_what_ends_the_copy_is_what_is_raised(tmp_path: Path) -> None:
    async def copying() -> None:
        raise TimeoutError("the source is slow")

    watched = await Watched(tmp_path, never).open()
    with pytest.raises(TimeoutError, match="slow"):
        await watched.place.beside(copying())


async def test_a_step_that_is_cut_ends_its_copy_and_its_watch(tmp_path: Path) -> None:
    going = list[str]()

    async def comes(tell: Tell) -> None:
        await kept("watch")

    async def kept(name: str) -> None:
        going.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            going.remove(name)

    watched = await Watched(tmp_path, comes).open()
    step = asyncio.create_task(watched.place.beside(kept("copy")))
    await until_holds(lambda: len(going) == 2, within=10)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert going == []
