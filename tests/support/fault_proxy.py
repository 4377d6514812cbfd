"""A TCP proxy that misbehaves on order: delay, drop, reset, half-open, cut after N bytes.

Put it in front of MySQL, NATS or an agent. Faults are set while connections live and count from then on. It runs on an
event loop of its own thread, so any test may use it.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

from tests.support.servers import Loop


class Direction(Enum):
    """Which way bytes flow."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


@dataclass
class Faults:
    """What is wrong now. All clear by default."""

    delay: float = 0.0
    """Seconds before each piece is passed on, either way."""
    refuse: bool = False
    """New connections are reset at once."""
    swallow: set[Direction] = field(default_factory=set)
    """Bytes of these directions vanish while the connection stays open: a half-open peer."""
    cut_after: dict[Direction, int] = field(default_factory=dict)
    """Reset a connection once so many more bytes went this way."""
    then: Iterator[dict[Direction, int]] = field(default_factory=lambda: iter(()))
    """What `cut_after` is next, each time it was done."""


class FaultProxy:
    """One listening port in front of one server."""

    def __init__(self, target: tuple[str, int], loop: Loop, listens: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.faults = Faults()
        self.connections = 0
        self._target = target
        self._loop = loop
        self._listens = listens
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = loop.run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, *self._listens)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.faults.refuse:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, far_writer}
        ways = [
            asyncio.create_task(self._pump(reader, far_writer, writer, Direction.TO_SERVER)),
            asyncio.create_task(self._pump(far_reader, writer, far_writer, Direction.TO_CLIENT)),
        ]
        self._tasks |= set(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.close()
            self._writers.discard(end)
        await asyncio.wait(ways)
        self._tasks -= set(ways)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter, way: Direction
    ) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while piece := await reader.read(65536):
                if self.faults.delay:
                    await asyncio.sleep(self.faults.delay)
                if way in self.faults.cut_after:
                    left = self.faults.cut_after[way]
                    self.faults.cut_after[way] = left - len(piece)
                    if left <= len(piece):
                        self.faults.cut_after = next(self.faults.then, {})
                        writer.write(piece[:left])
                        _reset(writer)
                        _reset(back)
                        return
                if way in self.faults.swallow:
                    continue
                writer.write(piece)
                await writer.drain()

    def reset_all(self) -> None:
        """Reset every open connection now."""
        self._loop.run(self._reset_all())

    async def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    def close(self) -> None:
        """Stop listening and end all connections."""
        self._loop.run(self._close())

    async def _close(self) -> None:
        self._server.close()
        await self._reset_all()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: linger of zero seconds (socket(7), SO_LINGER)."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def fault_proxy(port: int, host: str = "127.0.0.1", *, listens: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[FaultProxy]:
    """A proxy in front of `host:port`, gone afterwards; `listens` says where, port 0 for any."""
    loop = Loop()
    proxy = FaultProxy((host, port), loop, listens)
    try:
        yield proxy
    finally:
        proxy.close()
        loop.close()
