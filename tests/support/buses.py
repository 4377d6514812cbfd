"""Buses for tests: JetStream on the session's nats-server, empty at the start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from tests.support.servers import Nats
from tests.support.wait import until_async
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.bus.subjects import STREAM


@asynccontextmanager
async def connected_bus(nats: Nats) -> AsyncIterator[JetStreamBus]:
    """A connected bus whose stream has no messages."""
    await wipe(nats)
    bus = await JetStreamBus.open(nats.url)
    try:
        await connected(bus)
        await bus.ensure()
        yield bus
    finally:
        await bus.close()


async def connected(bus: JetStreamBus, *, within: float = 10) -> None:
    async def is_connected() -> bool:
        return bus.is_connected

    await until_async(is_connected, within=within, every=0.02)


async def wipe(nats: Nats) -> None:
    """Delete the stream and all its consumers, as if the broker had lost its disk."""
    client = Client()
    await client.connect(nats.url, connect_timeout=5)
    try:
        await client.jetstream().delete_stream(STREAM)
    except NotFoundError:
        return
    finally:
        await client.close()
