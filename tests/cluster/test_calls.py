"""kill -9 of the worker between any two calls that a job makes to the API server."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cluster.job_yard import JobYard
from tests.cluster.test_jobs import completed, deleted, is_whole
from tests.support.servers import SERVICE
from tests.support.wait import until_async
from workers.clone_databases import base_name, database_name
from wpclone.core.supervise import end

DYING = "tests.support.dying_worker"
AT_ONCE = 5
"""Workers side by side, of one job each, so that a kill takes no other job along."""
Call = tuple[str, int]
"""A call, and the how manieth of its like."""


@pytest.mark.full
@pytest.mark.timeout(1500)
async def test_a_worker_killed_before_any_call_to_the_api_server_leaves_a_whole_clone_and_then_nothing(yard: JobYard) -> None:
    place = yard.place / "calls"
    place.mkdir()
    SERVICE.own(place)
    first = await yard.accept()
    async with workers(yard, place, {}, 1):
        completed(await yard.ended(first, within=200))
    calls = calls_of(place, first)
    others = [await yard.accept() for _ in calls]
    deaths = dict(zip(others, calls, strict=True))
    async with workers(yard, place, deaths, AT_ONCE):
        completed(await yard.ended(*others, within=600))
    tell("clone", place, deaths)
    for clone_id in (first, *others):
        await is_whole(yard, clone_id)
        name = database_name(clone_id)
        data = sorted(left for left in yard.left_of([clone_id]) if left.startswith(("database", "user")))
        assert data == [f"database {name}", f"database {base_name(clone_id)}", f"user {name}"]
    await killed_while_deleting(yard, place, first, others)


async def killed_while_deleting(yard: JobYard, place: Path, first: str, others: list[str]) -> None:
    """Delete a clone, then the others with a worker killed before each call of that first job."""
    (place / f"{first}.calls").unlink()
    async with workers(yard, place, {}, 1):
        await deleted(yard, [first], within=120)
    # How often a delete job looks whether all has gone is the cluster's doing; there may be more looks than clones.
    calls = sorted(calls_of(place, first), key=is_another_look)
    deaths = dict(zip(others, calls, strict=False))
    for clone_id in others:
        (place / f"{clone_id}.died").unlink(missing_ok=True)
    async with workers(yard, place, deaths, AT_ONCE):
        await deleted(yard, others, within=400)
    tell("delete", place, deaths)


def calls_of(place: Path, clone_id: str) -> list[Call]:
    """The calls of a job that nobody disturbed, in their order."""
    made, calls = Counter[str](), list[Call]()
    for call in (place / f"{clone_id}.calls").read_text().splitlines():
        made[call] += 1
        calls.append((call, made[call]))
    return calls


def is_another_look(call: Call) -> bool:
    """Whether one job makes it and the next one need not: how often a job looks depends on when the cluster is done."""
    return call[0].startswith("GET") and call[1] > 1


def tell(kind: str, place: Path, deaths: dict[str, Call]) -> None:
    """Fail unless a worker died before each call; say which they were."""
    died = [call for clone_id, call in deaths.items() if (place / f"{clone_id}.died").exists()]
    print(f"{kind} jobs: a worker was killed before each of {len(died)} calls: {died}")
    assert [call for call in deaths.values() if call not in died and not is_another_look(call)] == []


@asynccontextmanager
async def workers(yard: JobYard, place: Path, deaths: dict[str, Call], count: int) -> AsyncIterator[None]:
    """So many workers, each started again when it was killed, as a Deployment does."""
    (place / "deaths.json").write_text(json.dumps(deaths))
    living = [yard.start(slots=1, program=(DYING, str(place))) for _ in range(count)]

    async def keep() -> None:
        while True:
            for number, worker in enumerate(living):
                if worker.poll() is not None:
                    living[number] = yard.start(slots=1, program=(DYING, str(place)))
            await asyncio.sleep(0.1)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        await end(keeping)
        for worker in living:
            worker.terminate()
        await until_async(lambda: asyncio.to_thread(lambda: all(worker.poll() is not None for worker in living)), within=60)
