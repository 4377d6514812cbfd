import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.jobs import CUSTOMER, clone_id, clone_plan, planned
from tests.unit.workers.desk import Desk
from workers.maintenance.expire import Expiry
from workers.maintenance.prune import Prune
from workers.maintenance.relay import Relay
from workers.maintenance.release_kept import ReleaseKept
from workers.maintenance.sweep import MOST, Sweep
from workers.maintenance.sync_expiry import SyncExpiry
from workers.runtimes import Place
from workers.runtimes.memory import MemoryRuntime
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import BusUnavailable, StoreUnavailable
from wpclone.core.jobs.job import Job, Limits, NewJob, Ring
from wpclone.core.jobs.states import JobKind, KeptState, Priority
from wpclone.core.jobs.transitions import KeptSet
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import Sweeping
from wpclone.core.store import Page


def relay(desk: Desk) -> Relay:
    return Relay(desk.store, desk.bus, desk.clock, desk.metrics)


async def rung(desk: Desk) -> list[str]:
    """The jobs that are rung now, taken off the queues; those whose worker was lost come first."""
    found = []
    for priority in (Priority.HIGH, Priority.NORMAL):
        while delivery := await desk.bus.take(priority, wait=0):
            assert delivery.ring is not None
            found.append(delivery.ring.job_id)
            await delivery.ack()
    return found


async def ready_clone(desk: Desk, number: int = 1) -> Job:
    await desk.accept(number)
    return await desk.run(clone_plan(planned(desk.step("one"))), number)


async def test_a_job_whose_first_ring_was_lost_is_rung_once() -> None:
    desk = Desk()
    await desk.accept()
    desk.clock.advance(3)
    ringer = relay(desk)
    await ringer.once()
    await ringer.once()
    assert await rung(desk) == [clone_id(1)]


async def test_nothing_is_rung_while_the_bus_is_away_and_nothing_is_lost() -> None:
    desk = Desk()
    await desk.accept()
    desk.clock.advance(3)
    desk.bus.cut()
    ringer = relay(desk)
    await ringer.once()
    desk.bus.mend()
    await ringer.once()
    assert await rung(desk) == [clone_id(1)]


async def test_a_ring_that_could_not_be_published_is_due_again_at_once() -> None:
    desk = Desk()
    for number in (1, 2):
        await desk.accept(number)
    desk.clock.advance(3)
    ring, failures = desk.bus.ring, [BusUnavailable()]

    async def failing(one: Ring) -> None:
        if failures:
            raise failures.pop()
        await ring(one)

    desk.bus.ring = failing  # type: ignore[method-assign, assignment]
    ringer = relay(desk)
    with pytest.raises(BusUnavailable):
        await ringer.once()
    desk.clock.advance(0.1)
    await ringer.once()
    assert sorted(await rung(desk)) == [clone_id(1), clone_id(2)]


async def test_a_wiped_bus_has_every_open_job_rung_again() -> None:
    desk = Desk()
    await desk.accept()
    desk.clock.advance(3)
    ringer = relay(desk)
    await ringer.once()
    desk.bus.wipe()
    desk.clock.advance(11)
    await ringer.once()
    desk.clock.advance(0.1)
    await ringer.once()
    assert await rung(desk) == [clone_id(1)]


async def test_after_an_outage_expired_leases_are_left_alone_for_five_seconds() -> None:
    desk = Desk()
    await desk.accept()
    await desk.claim()
    ringer = relay(desk)
    await ringer.once()
    desk.store.fail_with(StoreUnavailable())
    desk.clock.advance(60)
    with pytest.raises(StoreUnavailable):
        await ringer.once()
    desk.store.fail_with(None)
    await ringer.once()
    desk.clock.advance(4.9)
    await ringer.once()
    assert await rung(desk) == []
    desk.clock.advance(0.2)
    await ringer.once()
    assert await rung(desk) == [clone_id(1)]


async def test_a_clone_whose_time_is_over_gets_one_delete_job() -> None:
    desk = Desk()
    await ready_clone(desk)
    numbers = iter(range(10, 20))
    expiry = Expiry(desk.store, lambda size: next(numbers).to_bytes(size, "big"), version=3)
    await expiry.once()
    desk.clock.advance(3601)
    await expiry.once()
    await expiry.once()
    job = await desk.store.get_job("delete-00000000000a")
    assert job is not None
    assert (job.clone_id, job.kind, job.definition_version) == (clone_id(1), JobKind.DELETE, 3)
    assert await desk.clone_state() == "deleting"
    assert await desk.store.get_job("delete-00000000000b") is None


async def test_expiries_are_carried_to_the_runtime_once(tmp_path: Path) -> None:
    desk, runtime = Desk(), MemoryRuntime(tmp_path)
    await ready_clone(desk)
    await runtime.create(clone_id(1))
    await SyncExpiry(desk.store, runtime).once()
    place, clone = await runtime.describe(clone_id(1)), await desk.store.get_clone(clone_id(1))
    assert place is not None
    assert clone is not None
    assert place.expires_at == clone.expires_at == clone.synced_expires_at


async def test_an_expiry_that_the_runtime_refuses_is_tried_again(tmp_path: Path) -> None:
    desk, runtime = Desk(), MemoryRuntime(tmp_path)
    await ready_clone(desk)
    sync = SyncExpiry(desk.store, runtime)
    await sync.once()
    assert len(await desk.store.unsynced_expiries(most=5)) == 1


class PlayedDatabases:
    """Databases of clones by name."""

    def __init__(self, *clones: str, scratch: tuple[str, ...] = ()) -> None:
        self.clones = set(clones)
        self.scratch = set(scratch)

    async def scratch_of(self) -> list[str]:
        return sorted(self.scratch)

    async def drop_scratch(self, restore_id: str) -> None:
        self.scratch.discard(restore_id)

    async def names(self) -> list[str]:
        return ["wpc_" + clone.removeprefix("clone-") for clone in self.clones]

    async def drop(self, clone: str) -> None:
        self.clones.discard(clone)


def orphans(desk: Desk) -> tuple[float | None, float | None, float | None]:
    """How many were removed, how many are there that a record names, and how many nobody knows."""
    sample = desk.metrics.registry.get_sample_value
    return sample("clone_orphans_removed_total"), sample("clone_orphans_known"), sample("clone_orphans_unknown")


def sweeper(desk: Desk, runtime: MemoryRuntime, databases: PlayedDatabases, mode: Sweeping) -> Sweep:
    expiry = Expiry(desk.store, os.urandom, version=1)
    return Sweep(desk.store, runtime, databases, expiry, desk.metrics, mode)  # type: ignore[arg-type]


async def failed_clone(desk: Desk, number: int) -> str:
    """A clone whose job was cancelled before it began; its id."""
    await desk.accept(number)
    await desk.store.request_cancel(clone_id(number))
    return clone_id(number)


@pytest.mark.parametrize(("mode", "left"), [("report", {1, 2, 9}), ("known", {1, 9}), ("all", {1})])
async def test_the_sweep_removes_an_orphan_it_saw_twice_and_nothing_alive(tmp_path: Path, mode: Sweeping, left: set[int]) -> None:
    """1 is ready, 2 failed, nobody knows 9."""
    desk, runtime = Desk(), MemoryRuntime(tmp_path)
    await ready_clone(desk, 1)
    await failed_clone(desk, 2)
    everything = {clone_id(number) for number in (1, 2, 9)}
    databases = PlayedDatabases(*everything)
    for each in everything:
        await runtime.create(each)
    sweep = sweeper(desk, runtime, databases, mode)
    await sweep.once()
    assert databases.clones == everything
    await sweep.once()
    expected = {clone_id(number) for number in left}
    assert databases.clones == expected
    assert {place.clone_id for place in await runtime.list()} == expected
    assert orphans(desk) == (3 - len(left), int(2 in left), int(9 in left))


@pytest.mark.parametrize("mode", ["known", "all"])
async def test_the_sweep_removes_the_scratch_of_restores_that_are_over(tmp_path: Path, mode: Sweeping) -> None:
    desk = Desk()
    await desk.store.create_customer(CUSTOMER, Limits())
    running, over = (NewJob(f"restore-{n:012x}", JobKind.RESTORE, CUSTOMER, {}, None, 1, timedelta(hours=1)) for n in (1, 2))
    for job in (running, over):
        await desk.store.begin_restore(job, site_key=f"{job.job_id}.test")
    await desk.store.request_cancel(over.job_id)
    unknown = f"restore-{3:012x}"
    databases = PlayedDatabases(scratch=(running.job_id, over.job_id, unknown))
    sweep = sweeper(desk, MemoryRuntime(tmp_path), databases, mode)
    for _ in range(2):
        await sweep.once()
    assert databases.scratch == ({running.job_id} if mode == "all" else {running.job_id, unknown})
    assert orphans(desk) == ((2, 0, 0) if mode == "all" else (1, 0, 1))


async def test_a_pass_of_the_sweep_removes_a_few_orphans_only(tmp_path: Path) -> None:
    desk = Desk()
    databases = PlayedDatabases(*(clone_id(number) for number in range(1, 2 * MOST + 2)))
    sweep = sweeper(desk, MemoryRuntime(tmp_path), databases, "all")
    for removed in (0, MOST, 2 * MOST, 2 * MOST + 1, 2 * MOST + 1):
        await sweep.once()
        assert orphans(desk) == (removed, 0, 2 * MOST + 1 - removed)
    assert databases.clones == set()


class EndingRuntime(MemoryRuntime):
    """One that has ended its places by itself and keeps their records."""

    forgotten: list[str]

    async def list(self) -> list[Place]:
        return [replace(place, is_ended=True) for place in await super().list()]

    async def forget(self, clone: str) -> None:
        self.forgotten.append(clone)


async def test_a_ready_clone_that_its_runtime_ended_gets_one_delete_job(tmp_path: Path) -> None:
    desk, runtime = Desk(), EndingRuntime(tmp_path)
    await ready_clone(desk, 1)
    await runtime.create(clone_id(1))
    await sweeper(desk, runtime, PlayedDatabases(clone_id(1)), "report").once()
    assert await desk.clone_state() == "ready"
    sweep = sweeper(desk, runtime, PlayedDatabases(clone_id(1)), "known")
    for _ in range(3):
        await sweep.once()
    assert await desk.clone_state() == "deleting"
    jobs = await desk.store.list_jobs(customer_id=CUSTOMER, page=Page(10), kind=JobKind.DELETE)
    assert [job.clone_id for job in jobs] == [clone_id(1)]


async def test_what_nobody_knows_goes_when_its_runtime_ended_it(tmp_path: Path) -> None:
    desk, runtime, databases = Desk(), EndingRuntime(tmp_path), PlayedDatabases(clone_id(9))
    runtime.forgotten = []
    await runtime.create(clone_id(9))
    sweep = sweeper(desk, runtime, databases, "known")
    for _ in range(2):
        await sweep.once()
    assert (databases.clones, runtime.forgotten) == (set(), [clone_id(9)])
    assert orphans(desk) == (1, 0, 0)


async def test_old_finished_jobs_are_pruned_and_live_clones_kept() -> None:
    desk = Desk()
    await ready_clone(desk)
    desk.clock.advance(timedelta(days=40))
    await Prune(desk.store, timedelta(days=30)).once()
    assert await desk.store.get_job(clone_id(1)) is not None


async def kept_restore(desk: Desk, keys: KeyRing) -> Job:
    """A restore that completed, and keeps its target's old content for an hour."""
    await desk.store.create_customer(CUSTOMER, Limits())
    job_id = f"restore-{7:012x}"
    secrets = keys.encrypt(b'{"seed": "00", "source": {}, "target": {"agent_key": "k"}}', job_id)
    asked = {"target_url": "https://shop.example", "target_kind": "agent"}
    await desk.store.begin_restore(
        NewJob(job_id, JobKind.RESTORE, CUSTOMER, asked, secrets, 1, timedelta(hours=1)), site_key="shop.example"
    )
    claim = await desk.store.claim(job_id, worker="w")
    assert claim is not None
    kept = KeptSet(timedelta(hours=1))
    return await desk.store.apply(transitions.completed(claim, result={}, status_message="", clone=kept))


async def test_what_a_restore_put_aside_is_released_when_its_time_is_over() -> None:
    desk, keys = Desk(), KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    restore = await kept_restore(desk, keys)
    release = ReleaseKept(desk.store, keys, os.urandom)
    await release.once()
    assert await desk.store.kept_state(restore.job_id) is KeptState.KEPT
    desk.clock.advance(timedelta(hours=1, seconds=1))
    await release.once()
    await release.once()
    assert await desk.store.kept_state(restore.job_id) is KeptState.LEAVING
    jobs = await desk.store.list_jobs(customer_id=CUSTOMER, page=Page(10), kind=JobKind.RESTORE)
    (made,) = [job for job in jobs if job.job_id != restore.job_id]
    assert (made.request["action"], made.request["restore_id"], made.priority) == ("release", restore.job_id, Priority.LOW)
    assert b'"agent_key": "k"' in keys.decrypt(made.secrets or b"", made.job_id)


async def test_a_busy_site_is_released_later() -> None:
    desk, keys = Desk(), KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom)
    restore = await kept_restore(desk, keys)
    other = NewJob(f"restore-{8:012x}", JobKind.RESTORE, CUSTOMER, {}, None, 1, timedelta(hours=1))
    await desk.store.begin_restore(other, site_key="shop.example")
    desk.clock.advance(timedelta(hours=2))
    await ReleaseKept(desk.store, keys, os.urandom).once()
    assert await desk.store.kept_state(restore.job_id) is KeptState.KEPT
    await desk.store.request_cancel(other.job_id)
    await ReleaseKept(desk.store, keys, os.urandom).once()
    assert await desk.store.kept_state(restore.job_id) is KeptState.LEAVING
