"""Keep a row of programs running: start them, restart what dies, end them when told.

A program that dies is started again at once. One that dies a second time within a minute, or does not come back, takes
the whole installation down: going on half would hide the trouble.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from wpclone.standalone.child import Child

PATIENCE = 60.0
"""Seconds within which a second death is one too many."""


class PartFailed(RuntimeError):
    """A program ended twice within a minute, or did not come back; the message says which and how."""


@dataclass(frozen=True)
class Part:
    """One program: `start` returns once it is truly ready, and leaves no process behind when it raises.

    `grace` is how many seconds it may take to end after SIGTERM; `log` is where it writes, for messages.
    """

    name: str
    start: Callable[[], Awaitable[Child]]
    log: str
    address: str = ""
    grace: float = 10.0


@dataclass
class Standing:
    """How one part stands: its child now (None while it starts again), and how often it was restarted."""

    part: Part
    child: Child | None
    restarts: int = 0
    died_at: float | None = None
    keeper: asyncio.Task[None] | None = field(default=None, repr=False)


class Supervisor:
    """Starts, keeps and ends parts. `clock` gives monotonic seconds, `say` takes a line for the operator, `changed` is told
    whenever a part started, died or ended (to write it down)."""

    def __init__(self, *, clock: Callable[[], float], say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._say = say
        self._changed = changed
        self._standings: list[Standing] = []
        self._failure: asyncio.Future[PartFailed] | None = None

    @property
    def standings(self) -> list[Standing]:
        """Every part in the order of its start."""
        return list(self._standings)

    async def start(self, part: Part) -> Standing:
        """Start a part, return when it is ready, and keep it from now on. Raises what `part.start` raises."""
        child = await part.start()
        standing = Standing(part, child)
        self._standings.append(standing)
        standing.keeper = asyncio.create_task(self._keep(standing, child), name=f"keep {part.name}")
        self._say(f"{part.name} is ready" + (f" at {part.address}" if part.address else ""))
        self._changed()
        return standing

    async def failed(self) -> PartFailed:
        """Wait until a part cannot be kept any more, and return why."""
        return await asyncio.shield(self._failing)  # whoever stops waiting must not unmake the fact

    async def stop(self, standing: Standing) -> None:
        """Stop keeping a part, and end it."""
        if standing.keeper is not None:
            standing.keeper.cancel()
            await asyncio.wait([standing.keeper])
        if standing.child is not None:
            await standing.child.stop(grace=standing.part.grace)
            standing.child = None
        self._standings.remove(standing)
        self._changed()

    async def _keep(self, standing: Standing, child: Child) -> None:
        """Watch one part for good. Whatever goes wrong in here is a failure of the part, never silence."""
        try:
            while True:
                code = await child.wait()
                standing.child = None
                await child.stop(grace=1)  # what its process group may still hold
                child = await self._again(standing, code)
                standing.child = child
                self._changed()
        except PartFailed as failure:
            self._fail(failure)
        except Exception as error:
            self._fail(PartFailed(f"{standing.part.name} did not start again: {error}"))

    async def _again(self, standing: Standing, code: int) -> Child:
        part, now = standing.part, self._clock()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        if standing.died_at is not None and now - standing.died_at < PATIENCE:
            raise PartFailed(f"{part.name} {how}, the second time within {PATIENCE:.0f} s; see {part.log}")
        standing.died_at = now
        self._say(f"{part.name} {how}; starting it again")
        self._changed()
        child = await part.start()
        standing.restarts += 1
        self._say(f"{part.name} is ready again")
        return child

    @property
    def _failing(self) -> asyncio.Future[PartFailed]:
        if self._failure is None:
            self._failure = asyncio.get_running_loop().create_future()
        return self._failure

    def _fail(self, failure: PartFailed) -> None:
        if not self._failing.done():
            self._failing.set_result(failure)
