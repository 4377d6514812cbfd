"""Accepting and running: requests a second at 20 clients, jobs a second with empty steps, a change's way to a watcher, recovery.

The real server and two real workers, on a MariaDB that syncs each commit and a nats-server that syncs each message. Steps are
empty, so what is measured is the cost of recording them. A peer's command measures something else on the same MariaDB, in a
database of its own, while our processes are stopped or idle. `floor` is what accepting costs at least here (see bench/floor).

    python -m bench.jobs [--jobs N] [--rounds N] [--peer COMMAND]

Prints a table and, last, one JSON object. The peer's command takes turns with ours, round by round; its figures stand beside ours
with their ratio (above 1: ours is better). `_peers` says what it is told and what it prints.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any

import grpc

from bench.floor import floor
from tests.support.chaos import Field, chaos_field
from tests.support.chaos_edge import ServerProcess, clone_request, server_process, stub_of
from tests.support.history import part
from tests.support.servers import Mariadb, running_mariadb, running_nats
from tests.support.wait import until_async
from wpclone.v2 import clone_service_pb2

CLIENTS = 20
WATCHED = 50
LOST_AT_ONCE = 8
Figures = dict[str, float]
"""By name. Rates end in `_per_second`, times in `_ms` or `_s`; `accept_p50_in_floors` is a ratio, to be 3 at most."""


def measure(jobs: int, rounds: int, peer: str) -> tuple[Figures, Figures]:
    """Our medians and the peer's, over rounds in which both lanes take turns on one MariaDB; the peer's may be empty."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    with running_mariadb() as mariadb:
        for _ in range(rounds):
            ours.append(asyncio.run(_ours(mariadb, jobs)))
            if peer:
                theirs.append(_peers(mariadb, peer, jobs))
    return _medians(ours), _medians(theirs)


def ratio(name: str, ours: float, theirs: float) -> float:
    """How many times better we are: more a second, or less time."""
    return ours / theirs if name.endswith("_per_second") else theirs / ours


def _medians(rounds: Sequence[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in rounds) for name in (rounds[0] if rounds else {})}


def _peers(mariadb: Mariadb, command: str, jobs: int) -> Figures:
    """Run the peer. Its last line is a JSON object of figures by our names.

    It is told DATABASE_URL_ASYNC, DATABASE_URL_SYNC (SQLAlchemy's), BENCH_JOBS and BENCH_CLIENTS by the environment.
    """
    with mariadb.database() as name:
        url = mariadb.url(name)
        told = {
            "DATABASE_URL_ASYNC": url, "DATABASE_URL_SYNC": url.replace("+aiomysql", "+pymysql"), "BENCH_JOBS": str(jobs),
            "BENCH_CLIENTS": str(CLIENTS),
        }  # fmt: skip
        done = subprocess.run(
            command, shell=True, stdout=subprocess.PIPE, text=True, timeout=1800, check=True, env={**os.environ, **told}
        )
    figures = json.loads(done.stdout.strip().rpartition("\n")[2])
    return {str(key): float(value) for key, value in figures.items()}


async def _ours(mariadb: Mariadb, jobs: int) -> Figures:
    with running_nats() as nats:
        async with chaos_field(mariadb, nats, history=False) as field:
            async with server_process(field) as server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                figures = await _drive(field, stub_of(channel), server, jobs)
            return figures | await _recovery(field)


async def _drive(field: Field, stub: Any, server: ServerProcess, jobs: int) -> Figures:
    async def accept() -> None:
        await stub.CreateClone(clone_request(), metadata=server.metadata, timeout=30)

    accepting = await _driven(accept, jobs)
    async with floor(field.mariadb) as echo:
        request = clone_request().SerializeToString()
        ground = await _driven(lambda: echo(request), jobs)
    waiting = field.count("SELECT COUNT(*) FROM jobs WHERE status = 'pending'")
    for _ in range(2):
        field.start(slots=16, empty=True)
    await _until(field, waiting - 1, 60)
    begun, left = time.perf_counter(), field.count("SELECT COUNT(*) FROM jobs WHERE completed_at IS NULL")
    await _until(field, 0, 300)
    running = time.perf_counter() - begun
    news = sorted(chain.from_iterable([await _news(stub, server) for _ in range(WATCHED)]))
    return {
        **{f"accept_{name}": figure for name, figure in accepting.items()},
        **{f"floor_{name}": figure for name, figure in ground.items()},
        "accept_p50_in_floors": accepting["p50_ms"] / ground["p50_ms"],
        "jobs_per_second": left / running,
        "change_to_watcher_p50_ms": part(news, 0.5), "change_to_watcher_p99_ms": part(news, 0.99),
    }  # fmt: skip


async def _driven(call: Callable[[], Awaitable[object]], count: int) -> Figures:
    """Rate and times of so many calls by all clients, each asking again when it is answered; after a few to warm up."""

    async def ask(count: int) -> list[float]:
        took = []
        for _ in range(count):
            begun = time.perf_counter()
            await call()
            took.append((time.perf_counter() - begun) * 1000)
        return took

    await asyncio.gather(*(ask(5) for _ in range(CLIENTS)))
    begun = time.perf_counter()
    took = sorted(chain.from_iterable(await asyncio.gather(*(ask(count // CLIENTS) for _ in range(CLIENTS)))))
    seconds = time.perf_counter() - begun
    return {"per_second": len(took) / seconds, "p50_ms": part(took, 0.5), "p99_ms": part(took, 0.99)}


async def _news(stub: Any, server: ServerProcess) -> list[float]:
    """Milliseconds from each write of a running job to its watcher having it, the commit included: one clock for both."""
    job = await stub.CreateClone(clone_request(), metadata=server.metadata, timeout=30)
    ask = clone_service_pb2.WatchJobRequest(job_id=job.job_id, after_revision=job.revision)
    took, revision = [], job.revision
    async for answer in stub.WatchJob(ask, metadata=server.metadata, timeout=60):
        if answer.job.revision > revision:
            took.append(time.time() * 1000 - answer.job.updated_at.ToMicroseconds() / 1000)
            revision = answer.job.revision
    return took


async def _recovery(field: Field) -> Figures:
    """Seconds from kill -9 of a worker to each of its jobs being at its step again with another."""
    for worker in field.alive:
        await field.terminated(worker)
    doomed = field.start(slots=LOST_AT_ONCE, empty=True)
    await field.accept(LOST_AT_ONCE, millis=20_000)
    again = "SELECT job_id FROM job_steps WHERE state = 'running' AND attempts = %s"
    await until_async(lambda: _count(field, again, 1, LOST_AT_ONCE), within=60)
    field.start(slots=LOST_AT_ONCE, empty=True)
    doomed.send(signal.SIGKILL)
    lost_at, back = time.monotonic(), dict[str, float]()

    async def all_are_back() -> bool:
        for (job_id,) in await asyncio.to_thread(field.rows, again, 2):
            back.setdefault(job_id, time.monotonic() - lost_at)
        return len(back) == LOST_AT_ONCE

    await until_async(all_are_back, within=60, every=0.05)
    seconds = sorted(back.values())
    return {"recovery_p50_s": part(seconds, 0.5), "recovery_p99_s": part(seconds, 0.99)}


async def _count(field: Field, sql: str, parameter: int, wanted: int) -> bool:
    return len(await asyncio.to_thread(field.rows, sql, parameter)) == wanted


async def _until(field: Field, most: int, seconds: float) -> None:
    async def are_few() -> bool:
        return await asyncio.to_thread(field.count, "SELECT COUNT(*) FROM jobs WHERE completed_at IS NULL") <= most

    await until_async(are_few, within=seconds, every=0.1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.jobs")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs a round")
    parser.add_argument("--rounds", type=int, default=1, help="rounds; the median is shown")
    parser.add_argument("--peer", default="", help="a command that measures something else, run after each of our rounds")
    asked = parser.parse_args()
    ours, theirs = measure(asked.jobs, asked.rounds, asked.peer)
    ratios = {name: ratio(name, ours[name], theirs[name]) for name in ours if name in theirs}
    print(f"{'':28} {'ours':>10} {'peer':>10} {'ratio':>10}" if theirs else f"{'':28} {'ours':>10}")
    for name, figure in ours.items():
        beside = f" {theirs[name]:10.1f} {ratios[name]:10.1f}" if name in theirs else ""
        print(f"{name:28} {figure:10.1f}{beside}")
    print(
        json.dumps({"bench": "jobs", "jobs": asked.jobs, "rounds": asked.rounds, "ours": ours, "peer": theirs, "ratios": ratios})
    )


if __name__ == "__main__":
    main()
