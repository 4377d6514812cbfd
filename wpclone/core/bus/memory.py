"""The bus in memory: the promises of `core.bus`, kept by one process. `cut`, `mend` and `wipe` play the broker's troubles."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wpclone.core.bus import Storage
from wpclone.core.bus.events import EVENTS_KEPT, matches, ring_bytes
from wpclone.core.jobs.errors import BusUnavailable
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority


@dataclass(eq=False)
class _Letter:
    """A ring on the queue; taken and not acknowledged, it comes again at `again_at` of the loop's clock."""

    ring: Ring | None
    again_at: float = 0.0


@dataclass
class _Queue:
    letters: deque[_Letter] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryDelivery:
    """A Delivery of the memory bus."""

    def __init__(self, queue: _Queue, letter: _Letter) -> None:
        self._queue = queue
        self._letter = letter

    @property
    def ring(self) -> Ring | None:
        """What was rung."""
        return self._letter.ring

    async def ack(self) -> None:
        """Take it off the queue."""
        if self._letter in self._queue.letters:
            self._queue.letters.remove(self._letter)

    async def put_back(self) -> None:
        """Leave it to the next who asks, at once."""
        self._letter.again_at = 0.0
        self._queue.changed.set()


class MemoryBus:
    """A Bus of deques. Unacknowledged rings come again after `ack_wait` seconds."""

    def __init__(self, *, ack_wait: float = 10.0) -> None:
        self._ack_wait = ack_wait
        self._queues: dict[Priority, _Queue] = defaultdict(_Queue)
        self._seen: set[str] = set()
        self._listeners: set[_Listener] = set()
        self._connected = True
        self._has_stream = True

    @property
    def is_connected(self) -> bool:
        """Whether `cut` was not called, or `mend` after it."""
        return self._connected

    def cut(self) -> None:
        """Lose the broker."""
        self._connected = False

    def mend(self) -> None:
        """Have it back."""
        self._connected = True

    def wipe(self) -> None:
        """Lose all that the broker kept; `ensure` makes the stream anew."""
        self._queues.clear()
        self._seen.clear()
        self._has_stream = False

    def put_garbage(self, priority: Priority) -> None:
        """Put a message on the queue that cannot be read."""
        self._add(priority, _Letter(None))

    async def ring(self, ring: Ring) -> None:
        """See Bus.ring."""
        self._check()
        message_id = f"{ring.job_id}:{ring.enqueue_seq}"
        if message_id not in self._seen:
            self._seen.add(message_id)
            self._add(ring.priority, _Letter(ring))

    async def take(self, priority: Priority, *, wait: float) -> MemoryDelivery | None:
        """See Bus.take."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            self._check()
            queue = self._queues[priority]
            now = loop.time()
            for letter in queue.letters:
                if letter.again_at <= now:
                    letter.again_at = now + self._ack_wait
                    return MemoryDelivery(queue, letter)
            if now >= end:
                return None
            queue.changed.clear()
            until = min([end, *(letter.again_at for letter in queue.letters)])
            try:
                async with asyncio.timeout_at(until):
                    await queue.changed.wait()
            except TimeoutError:
                continue

    async def tell(self, subject: str, payload: Mapping[str, Any]) -> None:
        """See Bus.tell."""
        if self._connected:
            for listener in self._listeners:
                if matches(listener.subject, subject):
                    listener.put(subject, payload)

    def listen(self, subject: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """See Bus.listen; what is told from this call on is heard."""
        listener = _Listener(subject)
        self._listeners.add(listener)
        return self._heard(listener)

    async def ensure(self) -> bool:
        """See Bus.ensure."""
        self._check()
        anew = not self._has_stream
        self._has_stream = True
        return anew

    async def storage(self) -> Storage:
        """See Bus.storage."""
        self._check()
        letters = [letter for queue in self._queues.values() for letter in queue.letters]
        return Storage(sum(len(ring_bytes(letter.ring)) for letter in letters if letter.ring is not None), None)

    async def close(self) -> None:
        """See Bus.close."""
        self._connected = False

    async def _heard(self, listener: _Listener) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)

    def _add(self, priority: Priority, letter: _Letter) -> None:
        queue = self._queues[priority]
        queue.letters.append(letter)
        queue.changed.set()

    def _check(self) -> None:
        if not self._connected:
            raise BusUnavailable


class _Listener:
    """One subscription: bounded, the oldest is dropped first."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._told: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=EVENTS_KEPT)
        self._some = asyncio.Event()

    def put(self, subject: str, payload: Mapping[str, Any]) -> None:
        self._told.append((subject, payload))
        self._some.set()

    async def get(self) -> tuple[str, Mapping[str, Any]]:
        while not self._told:
            self._some.clear()
            await self._some.wait()
        return self._told.popleft()
