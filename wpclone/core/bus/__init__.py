"""The bus's promises: rings (durable, at least once, may be lost with the broker) and events (at most once).

MySQL is the truth and the bus the doorbell. `jetstream` and `memory` keep these promises, and tests/contract judges both.
Every method but `rings` and `events` returns or raises BusUnavailable within its timeout.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority


@dataclass(frozen=True)
class Storage:
    """What the rings take of the broker's disk, in bytes. `limit` is what our account there may take; None without one."""

    used: int
    limit: int | None


class Delivery(Protocol):
    """One ring taken from a queue; `ring` is None when the message could not be read."""

    @property
    def ring(self) -> Ring | None:
        """What was rung."""

    async def ack(self) -> None:
        """Take it off the queue, confirmed by the broker (`ack_sync`). A lost ack is harmless: the claim decides."""

    async def put_back(self) -> None:
        """Leave it to the next who asks, at once."""


class Bus(Protocol):
    """Rings for workers, events for watchers, cancels for whoever runs a job."""

    async def ring(self, ring: Ring) -> None:
        """Publish, with message id `<job_id>:<enqueue_seq>`. Raises BusUnavailable."""

    async def take(self, priority: Priority, *, wait: float) -> Delivery | None:
        """One delivery of this priority, or None after `wait` seconds. Raises BusUnavailable."""

    async def tell(self, subject: str, payload: Mapping[str, Any]) -> None:
        """Publish on core NATS, at most once; drops silently while disconnected."""

    def listen(self, subject: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """(subject, payload) of all that is told on `subject` (wildcards allowed), until cancelled; survives reconnects."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker is reachable now."""

    async def ensure(self) -> bool:
        """Make stream and consumers where they are missing; True when the stream had to be made anew."""

    async def storage(self) -> Storage:
        """For metrics. Raises BusUnavailable."""

    async def close(self) -> None:
        """Disconnect; idempotent."""
