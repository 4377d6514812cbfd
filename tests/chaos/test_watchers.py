"""Many watchers on one server: some do not read, some vanish, all are cut off again and again; the others miss nothing."""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest

from tests.support.chaos import Field
from tests.support.chaos_edge import OWN_CONNECTION, SMALL_WINDOW, ServerProcess, server_process, stub_of
from tests.support.chaos_table import note
from tests.support.fault_proxy import Direction, FaultProxy, fault_proxy
from tests.support.history import judge, part
from tests.support.wait import until_async
from wpclone.client import CloneClient, Patience
from wpclone.core.bus import subjects
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, Job
from wpclone.core.jobs.view import event
from wpclone.v2 import clone_service_pb2

MEGABYTE = 1_000_000
MOST_MEMORY = 300 * MEGABYTE
A_CONNECTION = 50
"""Watchers that share one."""


@dataclass
class Crowd:
    """A round of watchers: what those who read have seen, and how late each change came."""

    calls: list[Any] = field(default_factory=list)
    readers: list["asyncio.Task[int]"] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    told_at: dict[tuple[str, int], float] = field(default_factory=dict)

    async def read(self, call: Any, job_id: str) -> int:
        """Read to the end; the last revision. A revision that does not grow, unless as a heartbeat, is an error."""
        last = 0
        async for answer in call:
            assert answer.job.revision >= last
            last = answer.job.revision
            told = self.told_at.get((job_id, last))
            if told is not None:
                self.late.append(time.monotonic() - told)
        return last


class Shows:
    """Jobs that the test itself claims and moves on, as a worker does."""

    def __init__(self, place: Field, crowd: Crowd) -> None:
        self._place = place
        self._crowd = crowd
        self.claims: list[Claim] = []

    async def begin(self, jobs: int) -> None:
        for job_id in await self._place.accept(jobs):
            claim = await self._place.store.claim(job_id, worker="test")
            assert claim is not None
            self.claims.append(claim)

    async def move(self, percent: int) -> None:
        message = f"{percent} % " + "of a long sentence " * 12
        await asyncio.gather(
            *(self._tell(transitions.progressed(c, progress=percent, status_message=message)) for c in self.claims)
        )

    async def end(self) -> dict[str, int]:
        """Complete all; the last revision of each."""
        ends = [transitions.completed(c, result={}, status_message="Done", clone=None) for c in self.claims]
        jobs = await asyncio.gather(*(self._tell(end) for end in ends))
        return {job.job_id: job.revision for job in jobs}

    async def _tell(self, transition: transitions.Transition) -> Job:
        job = await self._place.store.apply(transition)
        self._crowd.told_at[job.job_id, job.revision] = time.monotonic()
        await self._place.bus.tell(subjects.event(job.job_id), event(job))
        return job


async def crowded(place: Field, server: ServerProcess, proxy: FaultProxy, *, watchers: int, jobs: int, changes: int) -> Crowd:
    """One round: a tenth of the watchers read one message and no more, a tenth vanish in the middle, the rest see all."""
    crowd = Crowd()
    shows = Shows(place, crowd)
    await shows.begin(jobs)
    last_of: list[tuple[str, asyncio.Task[int]]] = []
    async with AsyncExitStack() as stack:
        for first in range(0, watchers, A_CONNECTION):
            kind = {0: "still", 1: "gone"}.get(first // A_CONNECTION % 10, "reads")
            stub = await _stub(stack, server, proxy, kind)
            for number in range(first, min(first + A_CONNECTION, watchers)):
                job_id = shows.claims[number % jobs].job.job_id
                call = stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job_id), metadata=server.metadata, timeout=300)
                crowd.calls.append(call)
                if kind == "reads":
                    crowd.readers.append(asyncio.create_task(crowd.read(call, job_id)))
                    last_of.append((job_id, crowd.readers[-1]))
                else:
                    await call.read()
        await until_async(lambda: _has(server, watchers), within=60, every=0.2)
        for change in range(1, changes):
            if change == changes // 2:
                proxy.faults.swallow |= set(Direction)
            await shows.move(change * 99 // changes)
        ends = await shows.end()
        for job_id, reader in last_of:
            assert await asyncio.wait_for(reader, 60) == ends[job_id]
        assert server.rss < MOST_MEMORY
        for call in crowd.calls:
            call.cancel()
    proxy.faults.swallow.clear()
    proxy.reset_all()
    await until_async(lambda: _has(server, 0), within=60, every=0.2)
    return crowd


async def _stub(stack: AsyncExitStack, server: ServerProcess, proxy: FaultProxy, kind: str) -> Any:
    port, options = {"still": (server.port, SMALL_WINDOW), "gone": (proxy.port, OWN_CONNECTION)}.get(
        kind, (server.port, OWN_CONNECTION)
    )
    return stub_of(await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)))


async def _has(server: ServerProcess, watchers: int) -> bool:
    return await asyncio.to_thread(lambda: server.watchers) == watchers


async def rounds(place: Field, count: int, *, watchers: int, jobs: int, changes: int) -> None:
    """Some rounds on one server process, whose memory after the last is that after the first."""
    async with server_process(place) as server:
        with fault_proxy(server.port) as proxy:
            after: list[int] = []
            for _ in range(count):
                crowd = await crowded(place, server, proxy, watchers=watchers, jobs=jobs, changes=changes)
                after.append(server.rss)
                late = sorted(crowd.late)
                shown = [f"{part(late, share) * 1000:.0f} ms" for share in (0.5, 0.99)]
                print(f"{len(late)} changes seen after p50 {shown[0]}, p99 {shown[1]}; {after[-1] // MEGABYTE} MB afterwards")
    assert after[-1] < after[0] * 1.1 + 5 * MEGABYTE


async def test_watchers_that_stand_still_or_vanish_cost_the_others_nothing(place: Field) -> None:
    await rounds(place, 2, watchers=500, jobs=10, changes=12)
    note("R15 500 watchers, a tenth not reading, a tenth vanished, twice", judge(place, effects=False), n=1000)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_thousand_watchers_fit_in_one_server_and_leave_nothing(place: Field) -> None:
    await rounds(place, 4, watchers=1000, jobs=20, changes=60)
    note("R15 1,000 watchers, a tenth not reading, a tenth vanished, 4 times", judge(place, effects=False), n=4000)


async def dropped_at_every_revision(place: Field, jobs: int) -> int:
    """Every connection is reset whenever any watcher has seen a revision; how many were seen."""
    for _ in range(2):
        place.start(slots=8)
    await place.ended(await place.accept(2), within=60)
    patience = Patience(first=timedelta(minutes=2), longest=timedelta(milliseconds=300))
    async with server_process(place) as server:
        with fault_proxy(server.port) as proxy:

            async def followed(client: CloneClient, job_id: str) -> list[int]:
                seen = []
                async with aclosing(client.watch(job_id)) as watched:
                    async for job in watched:
                        seen.append(job.revision)
                        proxy.reset_all()
                return seen

            async with AsyncExitStack() as stack:
                names = await place.accept(jobs, millis=300)
                clients = [await stack.enter_async_context(server.client(port=proxy.port, patience=patience)) for _ in names]
                follow = (followed(client, job_id) for client, job_id in zip(clients, names, strict=True))
                seen = dict(zip(names, await asyncio.gather(*follow), strict=True))
    ends = dict(place.rows("SELECT job_id, revision FROM jobs WHERE completed_at IS NOT NULL"))
    for job_id, revisions in seen.items():
        assert revisions == sorted(set(revisions))
        assert revisions[-1] == ends[job_id]
    return sum(map(len, seen.values()))


async def test_a_watch_that_is_cut_at_every_revision_misses_no_end(place: Field) -> None:
    cuts = await dropped_at_every_revision(place, 10)
    note("R16 watches of 10 jobs cut at every revision seen", judge(place), n=cuts)


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_thousand_cuts_miss_no_end(place: Field) -> None:
    cuts = 0
    while cuts < 1000:
        cuts += await dropped_at_every_revision(place, 50)
    note("R16 watches cut at every revision seen, 1,000 cuts", judge(place), n=cuts)
