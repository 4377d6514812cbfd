"""A real worker process whose steps only count: `python -m tests.support.counting_worker`.

Its effects are rows of a table, named by job and step, so a test can tell what exists and how often it was made. Everything else
(store, bus, leases, relay, failpoints, drain) is the product's. Settings come as one JSON object in the first argument.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pymysql
import uvloop
from prometheus_client import CollectorRegistry
from sqlalchemy import make_url

from tests.support.jobs import CloneEnding
from workers.assembly import Parts, assemble
from workers.failpoints import Failpoints
from workers.opening import opened
from workers.plans import Plan, PlannedStep, Plans
from workers.step import Done, StepContext
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.errors import Fatal, StoreUnavailable
from wpclone.core.jobs.states import JobKind
from wpclone.core.logs import configure
from wpclone.core.metrics import Metrics
from wpclone.core.store.mysql import MysqlStore
from wpclone.core.store.renewal import RenewalLine

STEPS = ("one", "two", "three")
EFFECTS = "CREATE TABLE effects (name VARCHAR(64) PRIMARY KEY, fence INT NOT NULL, calls INT NOT NULL DEFAULT 1)"
CALLS = "CREATE TABLE calls (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(64), what VARCHAR(8), worker VARCHAR(64))"
MAKE = "INSERT INTO effects (name, fence) VALUES (%s, %s) ON DUPLICATE KEY UPDATE calls = calls + 1"
REMOVE = "DELETE FROM effects WHERE name = %s AND fence <= %s"


@dataclass
class CountingStep:
    """`do` makes a row, `undo` removes it; the request's `hold` (seconds) makes a step last, `fail_at` makes one final."""

    name: str
    effects_url: str
    worker: str

    async def do(self, context: StepContext) -> Done:
        await self._count("do", context, MAKE)
        request = context.job.request
        for tenth in range(int(request.get("hold", {}).get(self.name, 0) * 10)):
            context.report(tenth / 100, f"holding for the {tenth}th time")
            await asyncio.sleep(0.1)
        if request.get("fail_at") == self.name:
            raise Fatal("PLAYED", "This step was told to fail.")
        return Done({"by": self.worker})

    async def undo(self, context: StepContext) -> None:
        await self._count("undo", context, REMOVE)

    async def _count(self, what: str, context: StepContext, sql: str) -> None:
        name = f"{context.job.job_id}/{self.name}"
        try:
            await asyncio.to_thread(self._write, what, name, sql, context.fence)
        except pymysql.err.MySQLError as error:
            # Effects lie on the job store's own server: its outage is no failure of the step.
            raise StoreUnavailable from error

    def _write(self, what: str, name: str, sql: str, fence: int) -> None:
        url = make_url(self.effects_url)
        connection = pymysql.connect(
            host=url.host or "", port=url.port or 0, user=url.username, password=url.password or "", database=url.database,
            connect_timeout=5, read_timeout=5,
        )  # fmt: skip
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, (name, fence))
                cursor.execute("INSERT INTO calls (name, what, worker) VALUES (%s, %s, %s)", (name, what, self.worker))
            connection.commit()
        finally:
            connection.close()


class NoKeys:
    """Counting jobs have no secrets."""

    def decrypt(self, blob: bytes, context: str) -> bytes:
        raise AssertionError(context)


def plan(effects_url: str, worker: str) -> Plan:
    steps = [PlannedStep(CountingStep(name, effects_url, worker), f"Counting {name}", 1, timedelta(seconds=60)) for name in STEPS]
    return Plan(JobKind.CLONE, 1, tuple(steps), CloneEnding())


async def work(settings: Mapping[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        store = await opened(lambda: MysqlStore.open(settings["database_url"], timeout=3.0), SystemClock())
        stack.push_async_callback(store.close)
        bus = await JetStreamBus.open(settings["nats_url"], name=settings["name"], closed=stop.set, anew=store.ring_all_again)
        stack.push_async_callback(bus.close)
        parts = Parts(
            settings["name"], settings["slots"], store, bus, RenewalLine(settings["database_url"]),
            Plans([plan(settings["effects_url"], settings["name"])]), NoKeys(), SystemClock(), random.random,
            Metrics(CollectorRegistry()), Failpoints(settings["failpoint"]), lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            os._exit,
        )  # fmt: skip
        await assemble(parts).run(stop, grace=settings["grace"])


if __name__ == "__main__":
    configure("worker")
    uvloop.run(work(json.loads(sys.argv[1])))
