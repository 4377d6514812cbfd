"""Keeping the clones' Apaches running: one task each, restarted with growing pauses, none able to end another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from wpclone.standalone import apache
from wpclone.standalone.apache import ApachePlace
from wpclone.standalone.child import Child
from wpclone.standalone.clone_log import trim
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.readiness import ServerNotReady

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_LOG_SECONDS = 30.0
"""How often a server's log is looked at."""
_STEADY = 60.0
"""Seconds after which a server counts as steady, and its next restart is quick again."""

EndAll = Callable[[], Awaitable[None]]


@dataclass
class WebServer:
    """One clone's Apache as the outside may see it."""

    place: ApachePlace
    end_all: EndAll
    state: str = "starting"
    restarts: int = 0
    last_exit: int | None = None
    last_error: str | None = None
    http_status: int | None = None
    child: Child | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def view(self) -> dict[str, object]:
        """The public facts."""
        return {
            "state": self.state,
            "pid": self.child.pid if self.child and self.state == "running" else None,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "last_error": self.last_error,
            "http_status": self.http_status,
        }


STOPPED: dict[str, object] = {
    "state": "stopped",
    "pid": None,
    "restarts": 0,
    "last_exit": None,
    "last_error": None,
    "http_status": None,
}


class WebServers:
    """All clones' Apaches of one keeper."""

    def __init__(self) -> None:
        self._servers: dict[str, WebServer] = {}
        # Starting runs a whole WordPress page; more at once than this only makes each slower.
        self._starting = asyncio.Semaphore(4)

    def view(self, clone_id: str) -> dict[str, object]:
        """What there is to know about one clone's server."""
        server = self._servers.get(clone_id)
        return server.view() if server else STOPPED

    def is_running(self, clone_id: str) -> bool:
        """Whether its Apache runs now."""
        server = self._servers.get(clone_id)
        return server is not None and server.state == "running"

    def keep(self, clone_id: str, place: ApachePlace, end_all: EndAll) -> None:
        """Start keeping a server up, without waiting for it."""
        server = WebServer(place, end_all)
        server.task = asyncio.create_task(self._supervise(server), name=f"web server of {clone_id}")
        self._servers[clone_id] = server

    async def serve(self, clone_id: str, place: ApachePlace, end_all: EndAll) -> None:
        """Have the server run with this configuration and answer. Raises ServerNotReady; it is not kept then."""
        server = self._servers.get(clone_id)
        changed = await asyncio.to_thread(apache.write_configuration, place)
        if server and server.state == "running" and server.place == place and not changed:
            status = await status_of(place.port, place.host, within=30)
            if status is not None:
                server.http_status = status
                return
        await self.stop(clone_id)
        self.keep(clone_id, place, end_all)
        server = self._servers[clone_id]
        await server.settled.wait()
        if server.state != "running":
            await self.stop(clone_id)
            raise ServerNotReady(server.last_error or "the web server did not start")

    async def stop(self, clone_id: str) -> None:
        """Stop keeping a server and end its process group; silent when there is none."""
        server = self._servers.pop(clone_id, None)
        if server is None or server.task is None:
            return
        server.task.cancel()
        await asyncio.gather(server.task, return_exceptions=True)

    async def stop_all(self) -> None:
        """Stop all of them at once."""
        await asyncio.gather(*(self.stop(clone_id) for clone_id in list(self._servers)))

    async def _supervise(self, server: WebServer) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        try:
            while True:
                since = loop.time()
                try:
                    await self._live(server)
                except Exception as error:
                    # Whatever it was, this clone's server is tried again and no other's is touched.
                    server.last_error = str(error)
                    _LOG.warning("%s: %s", server.place.host, error)
                server.restarts += 1
                server.state = "restarting"
                server.settled.set()
                if loop.time() - since > _STEADY:
                    pause = _FIRST_PAUSE
                _LOG.warning("%s: its web server ended (%s), again in %.0f s", server.place.host, server.last_exit, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            server.state = "stopped"
            if server.child:
                await server.child.stop(grace=5)
            server.settled.set()

    async def _live(self, server: WebServer) -> None:
        """One life of one Apache: from clearing away what an earlier one left until it ends."""
        async with self._starting:
            await server.end_all()
            server.child, server.http_status = await apache.start_and_ask(server.place)
        server.state, server.last_error = "running", None
        server.settled.set()
        server.last_exit = await _ended(server.child, server.place)
        # The leader is gone; its workers, which share its socket, may not be.
        await server.child.stop(grace=0)


async def _ended(child: Child, place: ApachePlace) -> int:
    """A server's exit code, once it has one; until then its log is kept small."""
    while True:
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                return await child.wait()
        except TimeoutError:
            await asyncio.to_thread(_trim, place)


def _trim(place: ApachePlace) -> None:
    try:
        if trim(place.log):
            _LOG.warning("%s: its log had become too large and was cut to its end", place.host)
    except OSError as error:
        _LOG.warning("%s: its log cannot be cut: %s", place.host, error)
