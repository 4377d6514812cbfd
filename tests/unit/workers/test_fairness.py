"""One customer's flood beside another's few jobs: the order in which one worker runs them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.jobs import CUSTOMER, clone_id, clone_plan, new_clone, new_clone_job, planned
from tests.support.wait import until_async
from tests.unit.workers.desk import Desk
from tests.unit.workers.test_consumer import Station
from workers.fairness import LOOK_EVERY, Fairness
from workers.step import StepContext
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, Limits, Ring
from wpclone.core.jobs.states import JobState, Priority

FLOOD, FEW, OTHER = 1000, 5, "globex"


async def ask(desk: Desk, number: int, customer: str, priority: Priority = Priority.NORMAL) -> Ring:
    """What the edge does: accept, and ring at once."""
    await desk.store.create_customer(customer, Limits())
    new = replace(new_clone_job(number), customer_id=customer, priority=priority)
    job = await desk.store.accept(new, clone=replace(new_clone(number), customer_id=customer))
    ring = Ring(job.job_id, job.enqueue_seq, priority)
    await desk.bus.ring(ring)
    return ring


class Crowd:
    """A thousand jobs of one customer, and five of another, asked for while some of the thousand run."""

    def __init__(self, *, slots: int, alone: bool) -> None:
        self.desk = Desk()
        self.station = Station(self.desk, slots=slots)
        self.begun: list[str] = []
        self.asked_after = -1
        self._flood = 0 if alone else FLOOD
        self._slots = slots

    async def _work(self, context: StepContext) -> None:
        self.begun.append(context.job.customer_id)
        self.desk.clock.advance(LOOK_EVERY + 0.01)
        if len(self.begun) == self._slots and self._flood:
            await self._ask_few()

    async def _ask_few(self) -> None:
        self.asked_after = len(self.begun)
        for number in range(FEW):
            await ask(self.desk, 5000 + number, OTHER)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until the few have all begun."""
        for number in range(1, self._flood + 1):
            await ask(self.desk, number, CUSTOMER)
        if not self._flood:
            await self._ask_few()
        async with self.station.working(clone_plan(planned(self.desk.step("one", acts=self._work)))):

            async def few_have_begun() -> bool:
                return self.begun.count(OTHER) == FEW

            await until_async(few_have_begun, within=60, every=0.005)
            yield

    @property
    def position_of_the_last(self) -> int:
        """How many jobs had begun, from the asking on, when the last of the few did."""
        last = max(i for i, customer in enumerate(self.begun) if customer == OTHER)
        return last + 1 - self.asked_after


@pytest.mark.parametrize("slots", [1, 8])
async def test_a_thousand_jobs_of_one_customer_delay_anothers_five_by_no_more_than_their_number(slots: int) -> None:
    positions = []
    for alone in (True, False):
        crowd = Crowd(slots=slots, alone=alone)
        async with crowd.running():
            positions.append(crowd.position_of_the_last)
    assert positions[0] == FEW
    assert positions[1] <= 2 * positions[0], positions


async def test_a_job_that_had_to_wait_is_rung_again_at_once_and_none_is_lost() -> None:
    desk = Desk()
    first, second = [await ask(desk, number, CUSTOMER) for number in (1, 2)]
    await ask(desk, 3, OTHER)
    fair = Fairness(desk.store, desk.clock)
    claims = [await fair.claim(ring, make(desk)) for ring in (first, second)]
    assert [claim.job.job_id for claim in claims if claim] == [clone_id(1), clone_id(3)]
    desk.clock.advance(0.01)
    rings = await desk.store.due(per_customer=9, most=9, quiet=timedelta(0))
    assert [ring.job_id for ring in rings] == [clone_id(2)]


async def test_who_runs_least_goes_first() -> None:
    desk = Desk()
    rings = [await ask(desk, number, CUSTOMER) for number in range(1, 5)]
    for number in range(11, 14):
        await ask(desk, number, OTHER)
    for number in (1, 2):
        await desk.store.claim(clone_id(number), worker="another")
    fair = Fairness(desk.store, desk.clock)
    claims = [await fair.claim(rings[2], make(desk)) for _ in range(3)]
    assert [claim.job.customer_id for claim in claims if claim] == [OTHER, OTHER, CUSTOMER]
    assert fair._running == {CUSTOMER: 3, OTHER: 2}


async def test_a_job_whose_worker_was_lost_waits_for_nobody() -> None:
    desk = Desk()
    ring = await ask(desk, 1, CUSTOMER)
    await ask(desk, 2, CUSTOMER)
    await desk.store.claim(clone_id(1), worker="lost")
    desk.clock.advance(16)
    await ask(desk, 3, OTHER)
    claim = await Fairness(desk.store, desk.clock).claim(ring, make(desk))
    assert claim is not None
    assert (claim.job.job_id, claim.job.lapses) == (clone_id(1), 1)


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_job_that_is_tried_again_waits_its_turn_and_one_to_be_undone_does_not(is_cancelled: bool) -> None:
    desk = Desk()
    ring = await ask(desk, 1, CUSTOMER)
    first = await desk.store.claim(clone_id(1), worker="w1")
    assert first is not None
    if is_cancelled:
        await desk.store.request_cancel(clone_id(1))
    await desk.store.apply(transitions.handed_back(first))
    for number in (2, 3):
        await ask(desk, number, OTHER)
    await ask(desk, 4, CUSTOMER)
    fair = Fairness(desk.store, desk.clock)
    fair._served[CUSTOMER] = 1
    claim = await fair.claim(ring, make(desk))
    assert claim is not None
    assert (claim.job.job_id == clone_id(1)) is is_cancelled


async def test_other_priorities_have_queues_of_their_own() -> None:
    desk = Desk()
    ring = await ask(desk, 1, CUSTOMER)
    await ask(desk, 2, CUSTOMER)
    await ask(desk, 3, OTHER, Priority.LOW)
    fair = Fairness(desk.store, desk.clock)
    for _ in range(2):
        claim = await fair.claim(ring, make(desk))
        assert claim is None or claim.job.customer_id == CUSTOMER


async def test_where_another_worker_is_always_faster_the_rung_job_is_claimed() -> None:
    desk = Desk()
    ring = await ask(desk, 1, CUSTOMER)
    for number in range(2, 9):
        await ask(desk, number, OTHER)

    async def beaten(job_id: str) -> Claim | None:
        if job_id != clone_id(1):
            await desk.store.claim(job_id, worker="another")
        return await desk.store.claim(job_id, worker="w1")

    fair = Fairness(desk.store, desk.clock)
    fair._served[CUSTOMER] = 1
    claim = await fair.claim(ring, beaten)
    assert claim is not None
    assert claim.job.job_id == clone_id(1)


async def test_two_claims_at_once_choose_two_jobs() -> None:
    desk = Desk()
    rings = [await ask(desk, number, CUSTOMER) for number in (1, 2)]
    for number in (3, 4):
        await ask(desk, number, OTHER)
    fair, gate = Fairness(desk.store, desk.clock), asyncio.Barrier(2)
    fair._served[CUSTOMER] = 1

    async def slow(job_id: str) -> Claim | None:
        await gate.wait()
        return await desk.store.claim(job_id, worker="w1")

    async with asyncio.timeout(5):
        claims = await asyncio.gather(*(fair.claim(ring, slow) for ring in rings))
    assert {claim.job.job_id for claim in claims if claim} == {clone_id(3), clone_id(4)}
    assert {claim.job.state for claim in claims if claim} == {JobState.RUNNING}


def make(desk: Desk):  # type: ignore[no-untyped-def]
    """What claims, as the consumer's does."""

    async def claim(job_id: str) -> Claim | None:
        return await desk.store.claim(job_id, worker="w1")

    return claim
