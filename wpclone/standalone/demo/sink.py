"""The sink: a port that remembers who reached it. The sample site's noisy plugin tries to, on every page view."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Sink:
    """Listens on one port of this machine's `address`. `heard` holds the first bytes of every connection."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.port = port
        self.address = address
        self.heard: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._listen, self.address, self.port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()

    def from_host(self, host: str) -> list[bytes]:
        """What was heard from the site of this name: the plugin says who it is."""
        return [said for said in self.heard if host.encode() in said]

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = b""
        try:
            async with asyncio.timeout(5):
                while not said.endswith(b"\r\n\r\n") and len(said) < 8192 and (more := await reader.read(2048)):
                    said += more
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
        except (TimeoutError, OSError):
            pass  # whatever came before counts
        finally:
            self.heard.append(said)
            writer.close()
