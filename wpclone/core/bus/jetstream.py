"""The bus on NATS: rings on a JetStream work queue, events and cancels on core NATS.

Everything here may be lost with the broker, and nothing depends on it: MySQL is the truth. What nats-py does by default and we
do not want is turned off where it is connected: it gives up reconnecting, notices a dead peer after minutes, and flushes
publishes after their caller was told of a timeout (harmless: message ids, and the claim decides).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError, ServiceUnavailableError

from wpclone.core.bus import Storage, subjects
from wpclone.core.bus.events import EVENTS_KEPT, event_bytes, read_event, read_ring, ring_bytes
from wpclone.core.jobs.errors import BusUnavailable, WpcloneError
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority
from wpclone.core.supervise import end

log = structlog.get_logger()

CALL_SECONDS = 2.0
"""How long a publish, an acknowledgement or a question to the broker may take."""

ENSURE_SECONDS = 10.0
ACK_WAIT_SECONDS = 10.0

_STREAM = StreamConfig(
    name=subjects.STREAM,
    subjects=[subjects.RUN],
    retention=RetentionPolicy.WORK_QUEUE,
    storage=StorageType.FILE,
    discard=DiscardPolicy.NEW,  # a full queue refuses new rings, which the relay repeats; it never drops old ones
    max_msgs=1_000_000,
    duplicate_window=120,
)


def _consumer(priority: Priority) -> ConsumerConfig:
    # No `backoff`: it would replace ack_wait. Attempts are counted in MySQL, so deliveries are not limited here.
    return ConsumerConfig(
        durable_name=subjects.consumer(priority),
        filter_subject=subjects.run(priority),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        max_deliver=-1,
        max_ack_pending=10_000,
    )


class JetStreamDelivery:
    """A Delivery of the work queue."""

    def __init__(self, message: Msg, priority: Priority) -> None:
        self._message = message
        self._ring = read_ring(message.data, priority)

    @property
    def ring(self) -> Ring | None:
        """What was rung."""
        return self._ring

    async def ack(self) -> None:
        """Take it off the queue, confirmed. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._message.ack_sync(timeout=int(CALL_SECONDS))
        except (NatsError, TimeoutError, OSError) as e:
            raise BusUnavailable from e

    async def put_back(self) -> None:
        """Leave it to the next who asks, at once. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._message.nak()
        except (NatsError, TimeoutError, OSError) as e:
            raise BusUnavailable from e


class JetStreamBus:
    """A Bus on NATS; `open` makes one."""

    def __init__(
        self, url: str, name: str, closed: Callable[[], None] | None, anew: Callable[[], Awaitable[object]] | None
    ) -> None:
        self._url = url
        self._name = name
        self._on_closed = closed
        self._on_anew = anew
        self._nats = Client()
        self._js: JetStreamContext = self._nats.jetstream(timeout=CALL_SECONDS)
        self._connected = asyncio.Event()
        self._uneasy = asyncio.Event()
        self._is_ensuring = asyncio.Lock()
        self._was_made_anew = False  # for `ensure`
        self._owes_anew = False  # for `anew`
        self._closer: asyncio.Task[Any] | None = None
        self._pullers: dict[Priority, JetStreamContext.PullSubscription] = {}
        self._taking = {priority: asyncio.Lock() for priority in Priority}
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        name: str = "wpclone",
        closed: Callable[[], None] | None = None,
        anew: Callable[[], Awaitable[object]] | None = None,
    ) -> JetStreamBus:
        """A bus that connects in the background, now and after every loss; it never waits for the broker.

        It keeps stream and consumers in being: at each connect, on their loss, every 10 s. `anew` is awaited when the stream
        had to be made anew (give it the store's `ring_all_again`). `closed` is called if the client ever gives up for good:
        the process should end then.
        """
        bus = cls(url, name, closed, anew)
        bus._keeper = asyncio.create_task(bus._keep(), name="bus.keep")
        return bus

    @property
    def is_connected(self) -> bool:
        """Whether the broker is reachable now."""
        return bool(self._nats.is_connected)

    async def ring(self, ring: Ring) -> None:
        """See Bus.ring."""
        self._check()
        headers = {"Nats-Msg-Id": f"{ring.job_id}:{ring.enqueue_seq}"}
        try:
            async with asyncio.timeout(2 * CALL_SECONDS):
                try:
                    await self._publish(ring, headers)
                except NoStreamResponseError:
                    await self._ensured()
                    await self._publish(ring, headers)
        except (NatsError, TimeoutError, OSError) as e:
            raise BusUnavailable from e

    async def take(self, priority: Priority, *, wait: float) -> JetStreamDelivery | None:
        """See Bus.take. One pull at a time for each priority; others wait their turn within `wait`."""
        self._check()
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        try:
            async with asyncio.timeout(wait + CALL_SECONDS), self._taking[priority]:
                message = await self._pulled(priority, max(0.05, end - loop.time()))
        except (TimeoutError, ServiceUnavailableError):  # nothing there; no such consumer
            message = None
        except (NatsError, OSError) as e:
            raise BusUnavailable from e
        if message is not None:
            return JetStreamDelivery(message, priority)
        if loop.time() < end - 0.2:
            # nats-py says "nothing there" at once when the consumer is gone or the broker changes hands: look, and do not spin.
            self._uneasy.set()
            await asyncio.sleep(min(0.5, end - loop.time()))
        return None

    async def tell(self, subject: str, payload: Mapping[str, Any]) -> None:
        """See Bus.tell."""
        if not self.is_connected:
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._nats.publish(subject, event_bytes(payload))
        except (NatsError, TimeoutError, OSError) as e:
            log.debug("bus.tell_dropped", subject=subject, reason=repr(e))

    async def listen(self, subject: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """See Bus.listen. The subscription starts with the first item asked for, when connected; unread items are bounded."""
        await self._connected.wait()
        subscription = await self._nats.subscribe(subject, pending_msgs_limit=EVENTS_KEPT)
        try:
            while True:
                message = await subscription.next_msg(timeout=None)
                payload = read_event(message.data)
                if payload is not None:
                    yield message.subject, payload
        except NatsError as e:
            raise BusUnavailable from e
        finally:
            if not self._nats.is_closed:
                with suppress(NatsError, OSError):
                    await subscription.unsubscribe()

    async def ensure(self) -> bool:
        """See Bus.ensure; True also when the bus had made the stream anew by itself since the last call."""
        self._check()
        try:
            async with asyncio.timeout(5 * CALL_SECONDS):
                await self._ensured()
        except (NatsError, TimeoutError, OSError) as e:
            raise BusUnavailable from e
        anew, self._was_made_anew = self._was_made_anew, False
        return anew

    async def storage(self) -> Storage:
        """See Bus.storage; `account_info` of JetStream (-1 there: no limit)."""
        self._check()
        try:
            async with asyncio.timeout(2 * CALL_SECONDS):
                account = await self._js.account_info()
        except (NatsError, TimeoutError, OSError) as e:
            raise BusUnavailable from e
        limit = account.limits.max_storage
        return Storage(account.storage, limit if limit >= 0 else None)

    async def close(self) -> None:
        """See Bus.close."""
        self._closer = asyncio.current_task()
        if self._keeper is not None:
            await end(self._keeper)
            self._keeper = None
        # nats-py asserts that it was ever connected; uvloop raises RuntimeError when it says goodbye to a peer that hung up.
        with suppress(NatsError, TimeoutError, OSError, AssertionError, RuntimeError):
            async with asyncio.timeout(CALL_SECONDS):
                await self._nats.close()

    def _check(self) -> None:
        if not self.is_connected:
            raise BusUnavailable

    async def _publish(self, ring: Ring, headers: dict[str, Any]) -> None:
        await self._js.publish(subjects.run(ring.priority), ring_bytes(ring), timeout=CALL_SECONDS, headers=headers)

    async def _pulled(self, priority: Priority, wait: float) -> Msg | None:
        puller = self._pullers.get(priority)
        if puller is None:
            puller = await self._js.pull_subscribe_bind(consumer=subjects.consumer(priority), stream=subjects.STREAM)
            self._pullers[priority] = puller
        messages = await puller.fetch(1, timeout=wait)
        return messages[0] if messages else None

    async def _ensured(self) -> None:
        """Make what is missing."""
        async with self._is_ensuring:
            try:
                await self._js.stream_info(subjects.STREAM)
            except NotFoundError:
                await self._js.add_stream(_STREAM)
                self._was_made_anew = self._owes_anew = True
                self._uneasy.set()
                log.info("bus.stream_made")
            for priority in Priority:
                try:
                    await self._js.consumer_info(subjects.STREAM, subjects.consumer(priority), timeout=CALL_SECONDS)
                except NotFoundError:
                    await self._js.add_consumer(subjects.STREAM, _consumer(priority), timeout=CALL_SECONDS)

    async def _keep(self) -> None:
        """Connect, then keep stream and consumers in being for as long as the bus is open."""
        await self._connect()
        while True:
            self._uneasy.clear()
            await self._look()
            try:
                async with asyncio.timeout(ENSURE_SECONDS):
                    await self._uneasy.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        try:
            if self.is_connected:
                async with asyncio.timeout(5 * CALL_SECONDS):
                    await self._ensured()
                if self._owes_anew and self._on_anew is not None:
                    async with asyncio.timeout(ENSURE_SECONDS):
                        await self._on_anew()
                self._owes_anew = False
        except (NatsError, TimeoutError, OSError, WpcloneError) as e:
            log.warning("bus.ensure_failed", reason=repr(e))

    async def _connect(self) -> None:
        while True:
            try:
                await self._nats.connect(
                    self._url,
                    name=self._name,
                    connect_timeout=2,
                    reconnect_time_wait=1,
                    max_reconnect_attempts=-1,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_close,
                )
            except (NatsError, TimeoutError, OSError) as e:
                log.warning("bus.connect_failed", reason=repr(e))
                await asyncio.sleep(1)
            else:
                log.info("bus.connected")
                self._connected.set()
                return

    async def _on_error(self, error: Exception) -> None:
        log.debug("bus.error", reason=repr(error))
        if self._closer is not None and asyncio.current_task() is not self._closer:
            # A cancel that comes in the same turn as a refused connection is lost (python/cpython#86296): nats-py would go on
            # reconnecting after its close, and a process that ends while the broker is away would wait for that for ever.
            raise asyncio.CancelledError

    async def _on_disconnected(self) -> None:
        if self._closer is None:
            log.warning("bus.disconnected")

    async def _on_reconnected(self) -> None:
        if self._closer is not None:
            await self._nats.close()
            return
        log.info("bus.connected")
        self._uneasy.set()

    async def _on_close(self) -> None:
        if self._closer is None:
            log.error("bus.closed")
            if self._on_closed is not None:
                self._on_closed()
