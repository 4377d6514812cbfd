"""Whose job is run next: a customer's thousand jobs don't delay another's five.

Rings come in the order they were sent, and a thousand of them may lie before the next customer's first. So a ring only says that
there is work: when several customers wait at its priority, the one with the fewest running jobs goes first, among equals the one
this worker has served least recently. The rung job, if it has to wait, is left to the relay, which rings it again at once.

Who waits is looked up at most four times a second, and the look never takes more than a twentieth of the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from wpclone.core.clock import Clock
from wpclone.core.jobs.job import Claim, Job, Ring
from wpclone.core.jobs.states import JobState, Priority
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks at who waits."""

LOOK_SHARE = 20
"""How many times longer than a look itself the time until the next one is at least."""

TRIES = 3
"""How often another's job is tried, which another worker may be faster to claim, before the rung one is."""

Make = Callable[[str], Awaitable[Claim | None]]
"""Claims a job by its id; `Claims.make`."""


class Fairness:
    """One worker's sense of turns."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[Priority, set[str]] = {}
        self._running: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._turn = 0
        self._look_at = 0.0
        self._chosen: set[str] = set()

    async def claim(self, ring: Ring, make: Make) -> Claim | None:
        """Claim the rung job, or the one whose turn it is. None when there is none to claim. Raises StoreUnavailable."""
        for _ in range(TRIES):
            chosen = await self._choose(ring)
            if chosen is None:
                break
            self._chosen.add(chosen)
            try:
                await self._store.unring([ring.job_id])
                claim = await make(chosen)
            finally:
                self._chosen.discard(chosen)
            if claim is not None:
                _log.debug("ring.other_first", rung=ring.job_id, job_id=chosen)
                return self._counted(claim)
        claim = await make(ring.job_id)
        return self._counted(claim) if claim is not None else None

    async def _choose(self, ring: Ring) -> str | None:
        """The job that goes before the rung one, if any."""
        await self._look()
        waiting = self._waiting.get(ring.priority, set())
        if len(waiting) < 2:
            return None
        rung = await self._store.get_job(ring.job_id)
        if rung is None or not _may_wait(rung):
            return None
        for customer_id in self._in_turn(waiting | {rung.customer_id}, first=rung.customer_id):
            if customer_id == rung.customer_id:
                return None
            job_id = await self._store.next_waiting(customer_id, ring.priority, but=sorted(self._chosen))
            if job_id is not None:
                return job_id
            waiting.discard(customer_id)
        return None

    def _in_turn(self, customers: set[str], *, first: str) -> list[str]:
        """Whose turn it is, `first` among equals."""
        return sorted(customers, key=lambda one: (self._running[one], self._served.get(one, 0), one != first, one))

    async def _look(self) -> None:
        begun = self._clock.monotonic()
        if begun < self._look_at:
            return
        self._look_at = begun + LOOK_EVERY  # others go on meanwhile, by what was seen last
        shares = await self._store.shares()
        took = self._clock.monotonic() - begun
        self._look_at = begun + max(LOOK_EVERY, LOOK_SHARE * took)
        self._waiting = {}
        self._running = Counter()
        for share in shares:
            self._running[share.customer_id] += share.running
            if share.waiting:
                self._waiting.setdefault(share.priority, set()).add(share.customer_id)
        self._served = {one: turn for one, turn in self._served.items() if one in self._running}

    def _counted(self, claim: Claim) -> Claim:
        self._turn += 1
        self._served[claim.job.customer_id] = self._turn
        self._running[claim.job.customer_id] += 1
        return claim


def _may_wait(job: Job) -> bool:
    """Whether others may go before it. Not before a job whose worker was lost, or that is to be undone."""
    return job.state is JobState.PENDING and not job.is_to_be_undone
