"""Cancels at any moment, one customer's flood, caps, and a job that kills its workers."""

import asyncio
import secrets
from itertools import chain

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.chaos_worker import RETRY, STEPS
from tests.support.history import judge, part
from tests.support.wait import until_async
from wpclone.core.bus import subjects
from wpclone.core.jobs.errors import JobFinished
from wpclone.core.jobs.job import Limits


async def cancelled_anywhere(place: Field, jobs: int) -> float:
    """Cancel each of many jobs at its own moment; the longest time from the cancel to its verdict in seconds."""
    for _ in range(2):
        place.start(slots=8)
    await place.ended(await place.accept(2), within=30)

    async def one(number: int) -> None:
        job = await place.accept_one(play={"millis": 200})
        await asyncio.sleep(number % 40 * 0.035)
        try:
            asked = await place.store.request_cancel(job.job_id)
        except JobFinished:
            return
        if not asked.state.is_terminal:
            await place.bus.tell(subjects.cancel(job.job_id), {"job_id": job.job_id})

    waves = [range(start, min(start + 16, jobs)) for start in range(0, jobs, 16)]
    for wave in waves:
        await asyncio.gather(*(one(number) for number in wave))
    await place.ended(place.accepted, within=90)
    assert place.ids("lapses > 0 OR status = 'failed'") == []
    return slowest_verdict(place)


def slowest_verdict(place: Field) -> float:
    """The longest time in seconds from a cancel to its verdict, after which the worker undoes."""
    waits = place.rows(
        "SELECT h.job_id, MIN(h.at) - TIMESTAMPDIFF(MICROSECOND, '1970-01-01', j.cancel_requested_at) / 1e6 AS waited"
        " FROM job_history h JOIN jobs j USING (job_id) WHERE h.verdict = 'cancel' GROUP BY h.job_id ORDER BY waited"
    )
    assert waits
    return float(waits[-1][1])


async def test_a_cancel_at_any_moment_leaves_nothing(place: Field) -> None:
    slowest = await cancelled_anywhere(place, 48)
    note("R19 cancels at every moment, 48", judge(place))
    print(f"slowest verdict {slowest:.2f} s after its cancel")
    assert slowest <= 20  # on a machine with anything else to do


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_200_cancels_leave_nothing(place: Field) -> None:
    slowest = await cancelled_anywhere(place, 200)
    note("R19 cancels at every moment, 200", judge(place))
    print(f"slowest verdict {slowest:.2f} s after its cancel")
    assert slowest <= 1


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_cancels_without_the_broker_come_with_the_next_renewal(place: Field) -> None:
    for _ in range(2):
        place.start(slots=8)
    jobs = await place.accept(16, millis=16_000)
    begun = "SELECT COUNT(DISTINCT job_id) FROM effect_log WHERE what = 'do'"
    await until_async(lambda: asyncio.to_thread(lambda: place.count(begun) == len(jobs)), within=30)
    await asyncio.to_thread(place.nats.stop)
    for job in jobs:
        await place.store.request_cancel(job)
        await asyncio.sleep(0.3)
    await place.ended(jobs, within=90)
    slowest = slowest_verdict(place)
    note("R19 cancels without NATS", judge(place))
    print(f"slowest verdict {slowest:.2f} s after its cancel, without NATS")
    assert place.ids("status <> 'cancelled'") == []
    assert slowest <= 6


async def cancelled_in_flight(place: Field, rounds: int, *, reads: int) -> None:
    """Many calls to one store at once, all cancelled at some moment; each time the whole pool answers at once again."""
    for _ in range(rounds):
        calls: list[asyncio.Task[object]] = [asyncio.create_task(place.accept_one()) for _ in range(5)]
        calls += [asyncio.create_task(place.store.get_jobs([f"clone-{secrets.token_hex(6)}"])) for _ in range(reads)]
        await asyncio.sleep(secrets.randbelow(20) / 1000)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(2):
            await asyncio.gather(*(place.store.now() for _ in range(20)))
    place.start(slots=8)
    place.accepted = place.ids("TRUE")
    await place.ended(place.accepted, within=60 + rounds * 3)


async def test_calls_cancelled_in_flight_leave_the_pool_whole(place: Field) -> None:
    await cancelled_in_flight(place, 20, reads=50)
    note("R11 1,000 calls to the store cancelled in flight", judge(place))


async def test_a_flood_delays_another_customer_by_little(place: Field) -> None:
    await place.store.set_limits("acme", Limits(running_jobs=6))
    await place.store.create_customer("globex", Limits())
    for _ in range(2):
        place.start(slots=4)
    idle = await place.accept(5, customer="globex")
    await place.ended(idle, within=30)
    await place.accept(80, millis=20)
    beside = await place.accept(5, customer="globex")
    await place.ended(beside, within=30)
    alone, crowded = (slowest_job(place, jobs) for jobs in (idle, beside))
    await place.ended(place.accepted, within=100)
    note("R21 one customer's flood beside another's five", judge(place, caps={"acme": 6}))
    assert crowded < 2 * alone + 2


def slowest_job(place: Field, jobs: list[str]) -> float:
    """The longest time in seconds that one of these jobs took, from being accepted to its end."""
    waited = "SELECT MAX(TIMESTAMPDIFF(MICROSECOND, created_at, completed_at)) / 1e6 FROM jobs WHERE job_id IN %s"
    return float(place.rows(waited, jobs)[0][0])


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_thousand_jobs_without_a_cap_delay_anothers_five_to_no_more_than_twice_their_time(place: Field) -> None:
    await place.store.create_customer("globex", Limits())
    for _ in range(3):
        place.start(slots=8)
    await place.ended(await place.accept(5), within=30)  # the workers are there
    idle = await place.accept(5, customer="globex", millis=800)
    await place.ended(idle, within=60)
    alone = slowest_job(place, idle)
    await place.accept(1000, millis=800)
    for _ in range(3):
        beside = await place.accept(5, customer="globex", millis=800)
        await place.ended(beside, within=100)
        crowded = slowest_job(place, beside)
        print(f"another customer's five took {crowded:.1f} s, {alone:.1f} s without the flood")
        assert crowded <= 2 * alone
        begun_between = (
            "SELECT COUNT(*) FROM jobs JOIN job_steps s USING (job_id) WHERE customer_id = 'acme' AND s.position = 0"
            " AND s.started_at > (SELECT MAX(created_at) FROM jobs WHERE job_id IN %s)"
            " AND s.started_at < (SELECT MAX(started_at) FROM job_steps WHERE position = 0 AND job_id IN %s)"
        )
        ((went_first,),) = place.rows(begun_between, beside, beside)
        # As many as the five, and those for which a slot was free before anybody looked who waits: one for each slot.
        assert went_first <= 5 + 24, "jobs of the flood that began before the last of the five"
    await place.ended(place.accepted, within=600)
    note("R21 a thousand jobs of one customer without a cap beside another's five, three times", judge(place))


async def poisoned(place: Field, good: int, *, bad: int, killers: int, within: float) -> tuple[list[str], list[str]]:
    """Good jobs alone, then as many among jobs that always raise and that kill their worker: the ids of these two sorts."""
    for _ in range(3):
        place.start(slots=8)
    alone = await place.accept(good, millis=40)
    await place.ended(alone, within=within)
    killing = [place.accept(1, kills_at=STEPS[2]) for _ in range(killers)]
    raising = [place.accept(1, raises_at=STEPS[2], millis=40) for _ in range(bad)]
    among = [place.accept(good // 10, millis=40) for _ in range(10)]
    kinds = await asyncio.gather(*killing, *raising, *among)
    poison, broken, good_ones = (list(chain.from_iterable(some)) for some in (kinds[:killers], kinds[killers:-10], kinds[-10:]))
    ending = asyncio.create_task(place.ended(place.accepted, within=within))
    while not ending.done():
        await asyncio.wait([ending], timeout=0.5)
        while len(place.alive) < 3:
            place.start(slots=8)
    await ending
    assert set(place.ids("status = 'completed'")) == {*alone, *good_ones}
    waited = (
        "SELECT MIN(c.at) - TIMESTAMPDIFF(MICROSECOND, '1970-01-01', j.created_at) / 1e6 AS waited"
        " FROM claim_history c JOIN jobs j USING (job_id) WHERE j.job_id IN %s GROUP BY j.job_id ORDER BY waited"
    )
    delays = [part([float(row[0]) for row in place.rows(waited, jobs)], 0.99) for jobs in (alone, good_ones)]
    print(f"start delay of good jobs p99 {delays[0]:.2f} s alone, {delays[1]:.2f} s among the others")
    return broken, poison


async def test_jobs_that_always_raise_end_and_hold_up_nobody(place: Field) -> None:
    broken, _ = await poisoned(place, 40, bad=10, killers=0, within=90)
    note("R14 jobs that always raise, 10 among 40", judge(place))
    assert place.count("SELECT COUNT(*) FROM jobs WHERE status = 'failed' AND JSON_VALUE(error, '$.reason') = 'INTERNAL'") == 10
    assert place.ids("lapses > 0") == []
    attempts = dict(place.rows("SELECT job_id, attempts FROM job_steps WHERE name = %s AND job_id IN %s", STEPS[2], broken))
    assert set(attempts.values()) == {RETRY.attempts}


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_jobs_that_raise_and_jobs_that_kill_their_workers_take_nobody_along(place: Field) -> None:
    _, poison = await poisoned(place, 1000, bad=48, killers=2, within=400)
    note("R14 jobs that raise or kill their workers, 50 among 1,000", judge(place))
    lost = place.ids("JSON_VALUE(error, '$.reason') = 'WORKER_LOST'")
    assert sorted(lost) == sorted(poison)
