"""Watching: nothing is missed, whatever is lost, late or slow; memory stays bounded."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from server.watch import Beat, Update, Watches
from tests.support.jobs import CUSTOMER, new_clone, new_clone_job
from tests.support.wait import until_async
from wpclone.core.bus import subjects
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import JobNotFound, LimitReached, ShuttingDown
from wpclone.core.jobs.job import Claim, Job, Limits
from wpclone.core.jobs.states import JobState
from wpclone.core.jobs.view import event
from wpclone.core.metrics import Metrics
from wpclone.core.store.memory import MemoryStore

MOST_EACH = 1000
SILENT = Beat(first=3600, later=3600)


class Bench:
    """A store, a bus and a process's watches, whose loops run only when told to."""

    def __init__(self, beat: Beat = SILENT) -> None:
        self.store, self.bus = MemoryStore(SystemClock()), MemoryBus()
        self.watches = Watches(
            self.store, self.bus, Metrics(CollectorRegistry()), chance=lambda: 0.5, beat=beat, most_each=MOST_EACH
        )

    async def job(self, number: int = 1) -> Job:
        await self.store.create_customer(CUSTOMER, Limits())
        return await self.store.accept(new_clone_job(number), clone=new_clone(number))

    async def claim(self, job: Job) -> Claim:
        claim = await self.store.claim(job.job_id, worker="w1")
        assert claim is not None
        return claim

    async def tell(self, job: Job) -> None:
        await self.bus.tell(subjects.event(job.job_id), event(job))

    async def step(self, claim: Claim, percent: int) -> Job:
        return await self.store.apply(transitions.progressed(claim, progress=percent, status_message=f"{percent} %"))

    async def complete(self, claim: Claim) -> Job:
        return await self.store.apply(transitions.completed(claim, result={}, status_message="Done", clone=None))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watches.listen())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def watch(self, job_id: str, after: int = 0) -> AsyncIterator[Update]:
        """What WatchJob does."""
        with self.watches.watcher(job_id, whose=CUSTOMER) as watcher:
            job = await self.store.get_job(job_id)
            assert job is not None
            watcher.offer(job)
            async with aclosing(watcher.updates(after)) as updates:
                async for update in updates:
                    yield update


async def soon(updates: AsyncIterator[Update]) -> Update:
    async with asyncio.timeout(5):
        return await anext(updates)


async def rest(updates: AsyncIterator[Update]) -> list[Update]:
    async with asyncio.timeout(5):
        return [update async for update in updates]


async def test_a_watcher_is_sent_the_present_revision_then_each_newer_one_and_the_end() -> None:
    bench = Bench()
    job = await bench.job()
    async with bench.listening():
        updates = bench.watch(job.job_id)
        assert (await soon(updates)).job.revision == 1
        claim = await bench.claim(job)
        await bench.tell(await bench.step(claim, 10))
        assert (await soon(updates)).job.progress == 10
        await bench.tell(await bench.complete(claim))
        assert (await soon(updates)).job.state is JobState.COMPLETED
        assert await rest(updates) == []


async def test_a_lost_event_is_made_good_by_the_next_read_of_all_watched_jobs() -> None:
    bench = Bench()
    job, other = await bench.job(1), await bench.job(2)
    updates, others = bench.watch(job.job_id), bench.watch(other.job_id)
    await soon(updates)
    await soon(others)
    await bench.complete(await bench.claim(job))
    await bench.step(await bench.claim(other), 50)
    await bench.watches.reread()
    assert (await soon(updates)).job.state is JobState.COMPLETED
    assert (await soon(others)).job.progress == 50


async def test_all_watched_jobs_are_read_in_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    streams = []
    for number in range(1, 6):
        streams.append(bench.watch((await bench.job(number)).job_id))
        await soon(streams[-1])
    asked = []
    read = bench.store.get_jobs

    async def counted(ids: list[str]) -> dict[str, Job]:
        asked.append(len(ids))
        return await read(ids)

    monkeypatch.setattr(bench.store, "get_jobs", counted)
    await bench.watches.reread()
    assert asked == [5]


async def test_a_change_between_subscription_and_read_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The read returns the old revision, and the event comes while it is under way: only a registered watcher hears it."""
    bench = Bench()
    job = await bench.job()
    claim = await bench.claim(job)
    read = bench.store.get_job

    async def slow(job_id: str) -> Job | None:
        found = await read(job_id)
        await bench.tell(await bench.complete(claim))
        await asyncio.sleep(0.01)
        return found

    monkeypatch.setattr(bench.store, "get_job", slow)
    async with bench.listening():
        assert [update.job.state for update in await rest(bench.watch(job.job_id))][-1] is JobState.COMPLETED


async def test_a_slow_watcher_skips_revisions_but_not_the_terminal_one() -> None:
    bench = Bench()
    job = await bench.job()
    claim = await bench.claim(job)
    async with bench.listening():
        updates = bench.watch(job.job_id)
        first = await soon(updates)
        for percent in range(1, 100):
            await bench.tell(await bench.step(claim, percent))
        await bench.tell(await bench.complete(claim))
        await until_async(lambda: knows_the_end(bench, job), within=5)
        seen = [update.job for update in await rest(updates)]
    assert len(seen) == 1
    assert seen[0].state is JobState.COMPLETED
    assert seen[0].revision > first.job.revision + 99


async def knows_the_end(bench: Bench, job: Job) -> bool:
    with bench.watches.watcher(job.job_id, whose=CUSTOMER) as watcher:
        try:
            return watcher._newest().state.is_terminal
        except JobNotFound:
            return False


async def test_who_does_not_read_costs_one_revision_however_many_there_are() -> None:
    bench = Bench()
    job = await bench.job()
    claim = await bench.claim(job)
    async with bench.listening():
        streams = [bench.watch(job.job_id) for _ in range(10)]
        for updates in streams:
            await soon(updates)
        before = jobs_in_memory()
        for percent in range(1, 100):
            for number in range(10):
                transition = transitions.progressed(claim, progress=percent, status_message=f"{percent}.{number} %")
                await bench.tell(await bench.store.apply(transition))
            await until_async(lambda: is_heard(bench), within=5, every=0)
        assert jobs_in_memory() <= before + 3
        for updates in streams:
            await updates.aclose()  # type: ignore[attr-defined]


async def is_heard(bench: Bench) -> bool:
    return all(not listener._told for listener in bench.bus._listeners)


def jobs_in_memory() -> int:
    gc.collect()
    return sum(isinstance(one, Job) for one in gc.get_objects())


async def test_a_customer_has_so_many_watches_and_no_more_and_others_have_theirs() -> None:
    bench = Bench()
    job = await bench.job()
    streams = [bench.watch(job.job_id) for _ in range(MOST_EACH)]
    for updates in streams:
        await soon(updates)
    with pytest.raises(LimitReached) as refused:
        await soon(bench.watch(job.job_id))
    assert (refused.value.metadata, refused.value.retry_after > timedelta(0)) == ({"limit": "watches"}, True)
    with bench.watches.watcher(job.job_id, whose="globex"):
        await streams[0].aclose()  # type: ignore[attr-defined]
        await soon(bench.watch(job.job_id))
    for updates in streams:
        await updates.aclose()  # type: ignore[attr-defined]


async def test_events_out_of_order_never_turn_a_watcher_back() -> None:
    bench = Bench()
    job = await bench.job()
    claim = await bench.claim(job)
    one, two = await bench.step(claim, 1), await bench.step(claim, 2)
    async with bench.listening():
        updates = bench.watch(job.job_id)
        assert (await soon(updates)).job.revision == two.revision
        await bench.tell(one)
        await bench.tell(await bench.complete(claim))
        assert [update.job.state for update in await rest(updates)] == [JobState.COMPLETED]


async def test_after_a_revision_only_newer_ones_come() -> None:
    bench = Bench()
    job = await bench.job()
    claim = await bench.claim(job)
    seen = await bench.step(claim, 1)
    async with bench.listening():
        updates = bench.watch(job.job_id, after=seen.revision)
        waiting = asyncio.create_task(soon(updates))
        await until_async(lambda: is_watched(bench, job), within=5)
        assert not waiting.done()
        newer = await bench.step(claim, 2)
        await bench.tell(newer)
        assert (await waiting).job.revision == newer.revision


async def is_watched(bench: Bench, job: Job) -> bool:
    return job.job_id in bench.watches._watched


async def test_a_terminal_job_is_sent_even_to_who_has_seen_it() -> None:
    bench = Bench()
    job = await bench.job()
    ended = await bench.complete(await bench.claim(job))
    assert [update.job for update in await rest(bench.watch(job.job_id, after=ended.revision))] == [ended]


async def test_a_quiet_job_is_repeated() -> None:
    bench = Bench(Beat(first=0.01, later=0.02))
    job = await bench.job()
    updates = bench.watch(job.job_id, after=1)
    assert [(await soon(updates)).job.revision for _ in range(3)] == [1, 1, 1]


async def test_a_heartbeat_never_comes_later_than_its_beat() -> None:
    bench = Bench(Beat(first=0.1, later=0.1))
    job = await bench.job()
    updates = bench.watch(job.job_id)
    await soon(updates)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await soon(updates)
    assert loop.time() - started < 5


async def test_an_unreadable_event_is_left_to_the_next_read() -> None:
    bench = Bench()
    job = await bench.job()
    async with bench.listening():
        updates = bench.watch(job.job_id)
        await soon(updates)
        for payload in ({"job_id": job.job_id}, {"job_id": job.job_id, "job": {"state": "confused"}}, {"job": 1}):
            await bench.bus.tell(subjects.event(job.job_id), payload)
        await bench.tell(await bench.complete(await bench.claim(job)))
        assert [update.job.state for update in await rest(updates)] == [JobState.COMPLETED]


async def test_a_drain_tells_each_watcher_where_to_resume_and_lets_it_go() -> None:
    bench = Bench()
    job = await bench.job()
    updates = bench.watch(job.job_id)
    await soon(updates)
    bench.watches.drain()
    last = await soon(updates)
    assert (last.closing, last.job.revision) == (True, 1)
    with pytest.raises(ShuttingDown):
        await soon(updates)
    with pytest.raises(ShuttingDown):
        await soon(bench.watch(job.job_id))


async def test_a_drain_does_not_hide_the_end() -> None:
    bench = Bench()
    job = await bench.job()
    updates = bench.watch(job.job_id)
    await soon(updates)
    await bench.complete(await bench.claim(job))
    await bench.watches.reread()
    bench.watches.drain()
    assert [(update.closing, update.job.state) for update in await rest(updates)] == [(False, JobState.COMPLETED)]


async def test_a_pruned_job_ends_its_watches() -> None:
    bench = Bench()
    job = await bench.job()
    updates = bench.watch(job.job_id)
    await soon(updates)
    bench.store._shelves.jobs.clear()
    await bench.watches.reread()
    with pytest.raises(JobNotFound):
        await soon(updates)


async def test_nothing_is_kept_when_the_last_watcher_is_gone() -> None:
    bench = Bench()
    job = await bench.job()
    streams = [bench.watch(job.job_id) for _ in range(1000)]
    for updates in streams:
        await soon(updates)
    assert len(bench.watches._watched) == 1
    await bench.complete(await bench.claim(job))
    await bench.watches.reread()
    for updates in streams:
        assert [update.job.state for update in await rest(updates)] == [JobState.COMPLETED]
    assert (bench.watches._watched, dict(bench.watches._open)) == ({}, {})


async def test_waiting_for_the_end_ends_with_the_job_with_time_or_with_the_drain() -> None:
    bench = Bench()
    job = await bench.job()
    with bench.watches.watcher(job.job_id, whose=CUSTOMER) as watcher:
        watcher.offer(job)
        assert (await watcher.final(0.01)).state is JobState.PENDING
        waiting = asyncio.create_task(watcher.final(timedelta(minutes=1).total_seconds()))
        await asyncio.sleep(0)
        bench.watches.drain()
        assert (await waiting).state is JobState.PENDING
        watcher.offer(await bench.complete(await bench.claim(job)))
        assert (await watcher.final(60)).state is JobState.COMPLETED
