"""Connections to the service: one that all calls share, replaced by a fresh one when a watch finds it broken.

A channel that answered UNAVAILABLE may stay half open for hours, so a broken watch never reuses one. A replaced channel is
closed when its last call has ended: closing it sooner would cancel the healthy calls of others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc

from wpclone.v2.clone_service_pb2_grpc import CloneServiceStub

OPTIONS: tuple[tuple[str, int | str], ...] = (
    # A pool of its own, or a new channel to the same address would share the broken connection and its back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
)


class Line:
    """One channel, the service's methods on it, and the number of calls at work."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = CloneServiceStub(channel)
        self.calls = 0
        self.is_replaced = False


class Lines:
    """The current line. Not for use from several event loops."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._open_channel = open_channel
        self._current: Line | None = None
        self._live: set[Line] = set()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """The current line, held open inside the block."""
        if self._current is None:
            self._current = Line(self._open_channel())
            self._live.add(self._current)
        line = self._current
        line.calls += 1
        try:
            yield line
        finally:
            line.calls -= 1
            if line.is_replaced and line.calls == 0:
                await self._close(line)

    def replace(self, line: Line) -> None:
        """Let the next call open a fresh channel, unless somebody has seen to that already."""
        line.is_replaced = True
        if self._current is line:
            self._current = None

    async def close(self) -> None:
        """Close everything, ending calls that are still open."""
        self._current = None
        for line in tuple(self._live):
            await self._close(line)

    async def _close(self, line: Line) -> None:
        if line in self._live:
            self._live.discard(line)
            await line.channel.close()
