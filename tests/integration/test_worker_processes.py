import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.counting_worker import STEPS
from tests.support.servers import Mariadb, Nats
from tests.support.wait import until, until_async
from tests.support.worker_fleet import Fleet, ends, running_fleet
from wpclone.core.bus import subjects
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.jobs.states import JobState
from wpclone.core.store.mysql import MysqlStore

ALL = list(STEPS)
DO_POINTS = ["claimed", "acked", *(f"two.{point}" for point in ("before_effect", "after_effect", "after_record"))]
UNDO_POINTS = [f"two.{point}" for point in ("before_undo", "after_undo", "after_undo_record")]


@pytest.fixture
def fleet(mariadb_server: Mariadb, nats_server: Nats) -> Iterator[Fleet]:
    with running_fleet(mariadb_server, nats_server) as running:
        yield running


@pytest.fixture
async def store(fleet: Fleet) -> AsyncIterator[MysqlStore]:
    opened = await fleet.open()
    yield opened
    await opened.close()


async def test_a_job_whose_worker_is_killed_anywhere_is_finished_by_another_at_its_step(fleet: Fleet, store: MysqlStore) -> None:
    jobs: dict[str, str] = {}
    for point in DO_POINTS:
        jobs[point] = await fleet.accept(store)
        worker = fleet.start(failpoint=f"{point}:kill", slots=1)
        assert await asyncio.to_thread(worker.ended, within=30) == -signal.SIGKILL
    for point in UNDO_POINTS:
        jobs[point] = await fleet.accept(store, fail_at="three")
        worker = fleet.start(failpoint=f"{point}:kill", slots=1)
        assert await asyncio.to_thread(worker.ended, within=30) == -signal.SIGKILL
    fleet.start()
    for point, job in zip(jobs, await ends(fleet, store, list(jobs.values()), within=60), strict=True):
        undone = point in UNDO_POINTS
        assert job.state is (JobState.FAILED if undone else JobState.COMPLETED), point
        assert fleet.exists(job.job_id) == ([] if undone else ALL), point
        assert not job.needs_attention
        assert job.lapses >= 1
    assert fleet.calls(jobs["two.before_effect"]) == {"one": 1, "two": 1, "three": 1}
    assert fleet.calls(jobs["two.after_effect"]) == {"one": 1, "two": 2, "three": 1}
    assert fleet.calls(jobs["two.after_record"]) == {"one": 1, "two": 1, "three": 1}
    assert fleet.calls(jobs["two.after_undo"]) == {"one": 1, "two": 1, "three": 1}
    assert fleet.calls(jobs["two.after_undo"], "undo") == {"one": 1, "two": 2, "three": 1}
    assert fleet.calls(jobs["two.after_undo_record"], "undo") == {"one": 1, "two": 1, "three": 1}


async def test_jobs_accepted_while_the_broker_is_stopped_run_when_it_is_back(fleet: Fleet, store: MysqlStore) -> None:
    worker = fleet.start()
    first = await fleet.accept(store)
    await ends(fleet, store, [first], within=30)
    fleet.nats.stop()
    try:
        jobs = [await fleet.accept(store) for _ in range(20)]
    finally:
        fleet.nats.start()
    for job in await ends(fleet, store, jobs, within=60):
        assert (job.state, job.lapses) == (JobState.COMPLETED, 0)
        assert fleet.calls(job.job_id) == dict.fromkeys(STEPS, 1)
    assert worker.is_alive


async def test_a_restart_of_the_store_burns_nothing_and_restarts_no_worker(fleet: Fleet, store: MysqlStore) -> None:
    worker = fleet.start()
    jobs = [await fleet.accept(store, hold={"two": 2.0}) for _ in range(3)]
    for job_id in jobs:
        await asyncio.to_thread(fleet.began, job_id, "two")
    await asyncio.to_thread(fleet.mariadb.stop)
    await asyncio.to_thread(fleet.mariadb.start)
    for job in await ends(fleet, store, jobs, within=60):
        assert (job.state, job.lapses) == (JobState.COMPLETED, 0)
        assert all(step.attempts <= 2 and step.last_error is None for step in job.steps)
        assert fleet.exists(job.job_id) == ALL
    assert worker.is_alive


async def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_when_it_wakes(fleet: Fleet, store: MysqlStore) -> None:
    zombie = fleet.start()
    job_id = await fleet.accept(store, hold={"two": 3.0})
    await asyncio.to_thread(fleet.began, job_id, "two")
    zombie.send(signal.SIGSTOP)
    other = fleet.start()
    (job,) = await ends(fleet, store, [job_id], within=60)
    assert (job.state, job.lapses, job.fence) == (JobState.COMPLETED, 1, 2)
    zombie.send(signal.SIGCONT)
    await asyncio.to_thread(until, lambda: "lease.unsafe" in zombie.said() or not zombie.is_alive, within=20)
    after = await fleet.state(store, job_id)
    assert (after.revision, after.steps) == (job.revision, job.steps)
    assert job.steps[1].facts == {"by": other.name}
    assert fleet.calls(job_id)["three"] == 1


async def test_a_terminated_worker_gives_its_jobs_back_and_exits_cleanly(fleet: Fleet, store: MysqlStore) -> None:
    leaving = fleet.start(grace=0.2)
    jobs = [await fleet.accept(store, hold={"two": 2.0}) for _ in range(3)]
    for job_id in jobs:
        await asyncio.to_thread(fleet.began, job_id, "two")
    leaving.send(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.ended, within=10) == 0
    for job_id in jobs:
        job = await fleet.state(store, job_id)
        assert (job.state, job.attempt, job.lapses) == (JobState.PENDING, 0, 0)
    fleet.start()
    for job in await ends(fleet, store, jobs, within=30):
        assert (job.state, job.lapses) == (JobState.COMPLETED, 0)
        assert fleet.calls(job.job_id) == {"one": 1, "two": 2, "three": 1}


@pytest.mark.parametrize(("with_bus", "seconds"), [(True, 1.0), (False, 6.0)])
async def test_a_cancel_reaches_a_running_step_at_once_by_the_bus_and_with_the_renewal_without_it(
    fleet: Fleet, store: MysqlStore, with_bus: bool, seconds: float
) -> None:
    fleet.start()
    job_id = await fleet.accept(store, hold={"two": 50.0})
    await asyncio.to_thread(fleet.began, job_id, "two")
    bus = await JetStreamBus.open(fleet.nats.url)
    await until_async(lambda: _is_connected(bus), within=10)
    begun = time.monotonic()
    await store.request_cancel(job_id)
    if with_bus:
        await bus.tell(subjects.cancel(job_id), {"job_id": job_id})
    (job,) = await ends(fleet, store, [job_id], within=20)
    took = time.monotonic() - begun
    await bus.close()
    assert job.state is JobState.CANCELLED
    assert fleet.exists(job_id) == []
    assert took < seconds + 1.0


async def test_a_blocked_event_loop_keeps_its_lease(fleet: Fleet, store: MysqlStore) -> None:
    blocked = fleet.start(failpoint="two.before_effect:block", slots=1)
    job_id = await fleet.accept(store)
    await asyncio.to_thread(fleet.began, job_id, "one")
    fleet.start()
    (job,) = await ends(fleet, store, [job_id], within=60)
    assert (job.state, job.lapses, job.fence) == (JobState.COMPLETED, 0, 1)
    assert blocked.is_alive


async def _is_connected(bus: JetStreamBus) -> bool:
    return bus.is_connected
