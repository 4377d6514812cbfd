"""A deployment rolled out, back and out again under load: no job fails, no attempt is burnt, no worker is cut short."""

import asyncio

import pytest

from tests.support.chaos import Field
from tests.support.chaos_table import note
from tests.support.history import judge
from tests.support.wait import until_async

OLD, NEW = "1", "1,2"
"""Definition versions that a worker of the older and of the newer build has plans for."""


async def roll(place: Field, versions: str) -> None:
    """Replace each worker by one of the other build: start, then terminate, one after the other."""
    for member in place.alive:
        place.start(slots=8, versions=versions)
        await _works(place, place.members[-1].name)
        assert await place.terminated(member) == 0


async def _works(place: Field, worker: str) -> None:
    async def has_claimed() -> bool:
        return bool(await asyncio.to_thread(place.rows, "SELECT 1 FROM claim_history WHERE worker = %s LIMIT 1", worker))

    await until_async(has_claimed, within=60, every=0.1)


async def deployed(place: Field, *, workers: int, pause: float) -> None:
    """N → N+1 → N → N+1 while a job comes every `pause` seconds; the schema is expanded before and contracted afterwards."""
    version, is_over = 1, asyncio.Event()

    async def load() -> None:
        while not is_over.is_set():
            await place.accept(1, version=version, millis=120)
            await asyncio.wait([asyncio.ensure_future(is_over.wait())], timeout=pause)

    for _ in range(workers):
        place.start(slots=8, versions=OLD)
    loading = asyncio.create_task(load())
    try:
        await _works(place, place.members[-1].name)
        await asyncio.to_thread(place.rows, "ALTER TABLE job_steps ADD COLUMN expanded INT NULL")
        await roll(place, NEW)
        version = 2
        await roll(place, OLD)
        early = await place.accept(4, version=2)
        await until_async(lambda: _handed_back(place, early), within=60, every=0.1)
        version = 1
        await roll(place, NEW)
        version = 2
        await asyncio.to_thread(place.rows, "ALTER TABLE job_steps DROP COLUMN expanded")
    finally:
        is_over.set()
        await loading
    await place.ended(place.accepted, within=120)
    assert place.ids("status <> 'completed' OR lapses > 0 OR attempt > 0") == []
    assert place.count("SELECT COUNT(DISTINCT definition_version) FROM jobs") == 2


async def _handed_back(place: Field, jobs: list[str]) -> bool:
    """Whether an older worker has had each of these jobs and left it as it was."""
    seen = await asyncio.to_thread(
        place.rows, "SELECT job_id FROM jobs WHERE fence > 0 AND status = 'pending' AND job_id IN %s", jobs
    )
    return len(seen) == len(jobs)


@pytest.mark.timeout(300)
async def test_a_deployment_under_load_burns_nothing(place: Field) -> None:
    await deployed(place, workers=1, pause=0.15)
    note("R18 rolled out, back and out again under load", judge(place))


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_500_jobs_across_deployments_burn_nothing(place: Field) -> None:
    while len(place.accepted) < 500:
        await deployed(place, workers=2, pause=0.08)
        for member in place.alive:
            await place.terminated(member)
    note("R18 rolled out, back and out again under load, 500 jobs", judge(place))
