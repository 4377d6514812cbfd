"""Takes rings while there are free slots, claims their jobs and runs them.

A slot is reserved before a ring is fetched. A ring is acknowledged once the claim has committed, or once MySQL has said that the
job is not claimable now; until then JetStream brings it again. Nothing here trusts a ring: it only says where to look.

A worker that the store does not answer puts rings back at once and takes none until it does: it would swallow those that other
workers, which the store may well answer, wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from workers.alone import Alone
from workers.claims import Claims
from workers.failpoints import Failpoints
from workers.fairness import Fairness
from workers.turns import WEIGHTS, Turns
from wpclone.core.bus import Bus, Delivery
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import BusUnavailable, StoreUnavailable
from wpclone.core.jobs.job import Claim, Ring
from wpclone.core.jobs.states import Priority
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore
from wpclone.core.supervise import end

_log = structlog.get_logger(__name__)

LONG_WAIT = 0.3
"""Seconds a fetch waits when every queue can be waited on at once."""

SHORT_WAIT = 0.1
"""Seconds it waits when slots are too few for that."""

SKIPPED_FOR = 1.0
"""Seconds an empty queue is passed over while slots are few."""

OUTAGE_PAUSE = 1.0
"""Seconds without fetching after the bus did not answer, and between two questions to a store that does not."""

LOOK_AGAIN = 5.0
"""Seconds between two looks at what should have been told and may not have been."""


@dataclass(frozen=True)
class Post:
    """Where a consumer stands: its job store, its bus, its clock."""

    store: JobStore
    bus: Bus
    clock: Clock
    metrics: Metrics
    failpoints: Failpoints


class Consumer:
    """One worker's consumer."""

    def __init__(self, post: Post, claims: Claims, *, slots: int) -> None:
        self._post = post
        self._claims = claims
        self._slots = slots
        self._turns = Turns()
        self._fairness = Fairness(post.store, post.clock)
        self._pulling: set[Priority] = set()
        self._claiming = 0
        self._empty_until: dict[Priority, float] = {}
        self._closed_until = 0.0
        self._alone = Alone(post.store, claims, post.clock, opened=self._open)
        self._is_draining = False
        self._is_store_out = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take and run jobs until drained: returns when nothing is left here."""
        try:
            while not self._is_draining:
                self._changed.clear()
                # One reading of the clock for both: a pause that ends between two readings would be waited for forever.
                now = self._post.clock.monotonic()
                if not self._start_a_pull(now):
                    await self._something_happens(now)
            while self._tasks:
                await asyncio.wait(set(self._tasks))
            await self._claims.empty()
            await self._leave_nothing()
        finally:
            await end(*self._tasks)

    def drain(self) -> None:
        """Take nothing more; each job goes back after its present step."""
        self._is_draining = True
        self._claims.drain()
        self._changed.set()

    def leave(self) -> None:
        """The grace is over: cut every step."""
        self.drain()
        self._claims.leave()

    @property
    def _free(self) -> int:
        return self._slots - len(self._pulling) - self._claiming - len(self._claims)

    def _open(self) -> None:
        self._changed.set()

    def _is_open(self) -> bool:
        return not self._is_draining and not self._alone.is_closed

    def _start_a_pull(self, now: float) -> bool:
        idle = [priority for priority in WEIGHTS if priority not in self._pulling]
        if not self._is_open() or self._is_store_out or self._free < 1 or not idle or now < self._closed_until:
            return False
        has_room = self._free >= len(idle)
        hungry = idle if has_room else [p for p in idle if self._empty_until.get(p, 0.0) <= now] or idle
        priority = self._turns.next(hungry)
        self._pulling.add(priority)
        self._spawn(self._pull(priority, LONG_WAIT if has_room else SHORT_WAIT))
        return True

    async def _something_happens(self, now: float) -> None:
        """Wait for a change, for the end of a pause, or for the next look that needs no reason."""
        pause = self._closed_until - now if self._closed_until > now else LOOK_AGAIN
        waits = [asyncio.create_task(self._changed.wait()), asyncio.create_task(self._sleep(pause))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _sleep(self, seconds: float) -> bool:
        await self._post.clock.sleep(seconds)
        return True

    async def _pull(self, priority: Priority, wait: float) -> None:
        try:
            delivery = await self._post.bus.take(priority, wait=wait)
        except BusUnavailable as error:
            self._pause("bus", error.message)
            return
        finally:
            self._pulling.discard(priority)
            self._changed.set()
        if delivery is None:
            self._empty_until[priority] = self._post.clock.monotonic() + SKIPPED_FOR
            return
        self._empty_until.pop(priority, None)
        self._claiming += 1
        try:
            claim = await self._take(delivery)
        finally:
            self._claiming -= 1
        if claim is not None:
            await self._run(claim)

    async def _take(self, delivery: Delivery) -> Claim | None:
        """Claim what was rung, and acknowledge when the store has answered."""
        ring = delivery.ring
        if ring is None:
            self._post.metrics.unreadable_rings.inc()
            _log.error("ring.unreadable")
            await self._ack(delivery)
            return None
        try:
            claim = await self._claim(ring)
        except StoreUnavailable as error:
            self._lose_store(error.message)
            await self._put_back(delivery)
            return None
        self._spawn(self._ack(delivery))
        return claim

    async def _claim(self, ring: Ring) -> Claim | None:
        if not self._is_open():
            # Somebody else, or a later we: rung again at once instead of after the broker's patience.
            await self._post.store.unring([ring.job_id])
            return None
        claim = await self._fairness.claim(ring, self._claims.make)
        if claim is None:
            _log.debug("ring.not_claimable", job_id=ring.job_id, enqueue_seq=ring.enqueue_seq)
            return None
        self._post.failpoints.hit("claimed")
        return claim

    async def _run(self, claim: Claim) -> None:
        """Run the job to its end, its pause or its loss; alone if it may be what kills workers."""
        if self._alone.is_suspect(claim.job):
            await self._alone.run(claim, is_busy=self._claiming > 0)
        else:
            await self._claims.run(claim)

    async def _ack(self, delivery: Delivery) -> None:
        try:
            await delivery.ack()
        except BusUnavailable as error:
            # It comes again, and the claim says that it is not claimable.
            _log.warning("ring.not_acknowledged", error=error.message)
        self._post.failpoints.hit("acked")

    async def _put_back(self, delivery: Delivery) -> None:
        try:
            await delivery.put_back()
        except BusUnavailable as error:
            _log.warning("ring.not_put_back", error=error.message)

    def _lose_store(self, error: str) -> None:
        if not self._is_store_out:
            self._is_store_out = True
            _log.warning("consumer.waits", on="store", error=error)
            self._spawn(self._find_store())

    async def _find_store(self) -> None:
        """Ask until the store answers or nobody needs it any more."""
        while self._is_store_out and not self._is_draining:
            await self._post.clock.sleep(OUTAGE_PAUSE)
            try:
                await self._post.store.now()
            except StoreUnavailable:
                continue
            self._is_store_out = False

    def _pause(self, what: str, error: str) -> None:
        now = self._post.clock.monotonic()
        if now >= self._closed_until:
            _log.warning("consumer.waits", on=what, error=error)
        self._closed_until = now + OUTAGE_PAUSE

    async def _leave_nothing(self) -> None:
        try:
            await self._claims.give_back_lost()
        except StoreUnavailable as error:
            _log.warning("consumer.leaves_unsure", error=error.message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("consumer.bug", exc_info=error)
