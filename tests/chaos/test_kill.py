"""kill -9 of workers at every named point of a job, and at random."""

import asyncio
import random
import signal

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.chaos_worker import STEPS
from tests.support.history import judge, part
from tests.support.wait import until_async

FORWARD = ["claimed", "acked", *(f"{step}.{at}" for step in STEPS for at in ("before_effect", "after_effect", "after_record"))]
BACK = [f"{step}.{at}" for step in STEPS for at in ("before_undo", "after_undo", "after_undo_record")]
SOON = 20.0
"""The goal for recovery, in seconds."""


async def killed_at(place: Field, points: list[str], **play: str) -> None:
    """One worker a point, each dies the first time it gets there; jobs come until all are dead. Then others take over."""
    doomed = [place.start(failpoint=f"{point}:kill", slots=1) for point in points]

    async def are_all_dead() -> bool:
        waiting = await asyncio.to_thread(place.count, "SELECT COUNT(*) FROM jobs WHERE status = 'pending'")
        alive = sum(member.is_alive for member in doomed)
        if waiting < min(alive, 4):
            await place.accept(1, **play)
        return alive == 0

    try:
        await until_async(are_all_dead, within=60, every=0.1)
    except AssertionError:
        left = [point for point, member in zip(points, doomed, strict=True) if member.is_alive]
        jobs = place.rows("SELECT job_id, status, fence, lapses, attempt FROM jobs WHERE completed_at IS NULL")
        raise AssertionError(f"never killed at {left}; {jobs}\n{place.said()}") from None
    for _ in range(2):
        place.start(slots=8)
    await place.ended(place.accepted, within=120)


@pytest.mark.timeout(300)
async def test_a_worker_killed_anywhere_on_the_way_is_made_good(place: Field) -> None:
    await killed_at(place, FORWARD)
    findings = judge(place)
    note("R1 kill -9 on the way, at every point", findings)
    assert place.ids("status <> 'completed'") == []
    assert len(findings.recovery) >= len(FORWARD) - 2
    assert part(findings.recovery, 0.99) <= SOON


@pytest.mark.timeout(300)
async def test_a_worker_killed_anywhere_on_the_way_back_is_made_good(place: Field) -> None:
    await killed_at(place, BACK, fails_at="open")
    findings = judge(place)
    note("R1 kill -9 while undoing, at every point", findings)
    assert place.ids("status <> 'failed'") == []
    assert part(findings.recovery, 0.99) <= SOON


async def random_kills(place: Field, jobs: int, *, every: float, within: float) -> None:
    """Kill one of four workers from time to time, and replace it, until all jobs have ended."""
    for _ in range(4):
        place.start(slots=4)
    accepted = await place.accept(jobs, millis=150)
    ending = asyncio.create_task(place.ended(accepted, within=within))
    while not ending.done():
        await asyncio.wait([ending], timeout=every)
        if not ending.done():
            random.choice(place.alive).send(signal.SIGKILL)
            place.start(slots=4)
    await ending


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_workers_killed_at_random_lose_and_repeat_nothing(place: Field) -> None:
    await random_kills(place, 300, every=5, within=500)
    findings = judge(place)
    note("R2 random kill -9 of one of four workers every 5 s", findings)
    assert part(findings.recovery, 0.99) <= SOON
