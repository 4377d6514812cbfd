"""A worker process of the chaos tests: the product's own worker, store and bus, with steps whose effects are counted.

Started by `nursery`, told by the environment what `chaos.Field` wants of it. What a job's steps do beyond their effect is in its
request, under `play`: see `Step`.
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import uvloop
from prometheus_client import CollectorRegistry
from sqlalchemy import make_url

from tests.support.chaos_target import Target
from tests.support.jobs import CloneEnding
from workers.assembly import Parts, assemble
from workers.failpoints import Failpoints
from workers.opening import opened
from workers.plans import Plan, PlannedStep, Plans
from workers.step import Done, StepContext
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.errors import Fatal, RetryLater, StaleClaim
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import JobKind
from wpclone.core.jobs.transitions import Transition
from wpclone.core.logs import configure
from wpclone.core.metrics import Metrics
from wpclone.core.secrets import KeyRing
from wpclone.core.store.mysql import MysqlStore
from wpclone.core.store.renewal import RenewalLine

T = TypeVar("T")
STEPS = ("reach", "create", "fill", "check", "open")
RETRY = RetryPolicy(attempts=4, base=timedelta(milliseconds=200), most=timedelta(seconds=1))
BLOCKED_SECONDS = 20.0
"""How long a step that blocks the event loop does: longer than a lease."""


async def in_thread(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Run a blocking call; when cancelled, return only after it has ended: a step that was cut must not go on in a thread."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class RecordedStore(MysqlStore):
    """The MySQL store, each answer to a worker's write noted beside it."""

    target: Target

    async def apply(self, transition: Transition) -> Job:
        """See JobStore.apply."""
        try:
            job = await super().apply(transition)
        except StaleClaim:
            await in_thread(self.target.wrote, transition.job_id, None, transition.fence, transition.name)
            raise
        await in_thread(self.target.wrote, transition.job_id, job.revision, transition.fence, transition.name)
        return job


class PlayedBug(Exception):
    """What a step raises that nobody has thought of."""


class Step:
    """A step with one counted effect.

    `play` of a job: `millis` a step takes; `fails_at` (Fatal after the effect), `retries_at` (three times), `raises_at` (a bug,
    each time), `kills_at` (the worker dies each time), `blocks_at` (the event loop stands still for 20 s), each a step's name.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self._target = target

    async def do(self, context: StepContext) -> Done:
        """Make the effect, or find it."""
        job, play = context.job, context.job.request.get("play", {})
        await in_thread(self._target.begin, job.job_id, self.name, context.fence, undo=False)
        await asyncio.sleep(play.get("millis", 50) / 2000)
        if play.get("retries_at") == self.name and context.attempt < RETRY.attempts:
            raise RetryLater("PLAYED", "This step was told to fail for now.")
        await in_thread(self._target.apply, job.job_id, self.name, context.fence)
        if play.get("raises_at") == self.name:
            raise PlayedBug
        if play.get("kills_at") == self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if play.get("blocks_at") == self.name:
            threading.Event().wait(BLOCKED_SECONDS)
        if play.get("fails_at") == self.name:
            raise Fatal("PLAYED", "This step was told to fail.")
        await asyncio.sleep(play.get("millis", 50) / 2000)
        return Done({"made": f"{self.name} of {job.job_id}"})

    async def undo(self, context: StepContext) -> None:
        """Remove the effect, or find it gone."""
        job_id = context.job.job_id
        await in_thread(self._target.begin, job_id, self.name, context.fence, undo=True)
        await asyncio.sleep(context.job.request.get("play", {}).get("millis", 50) / 2000)
        await in_thread(self._target.remove, job_id, self.name, context.fence)


class EmptyStep:
    """A step that does nothing, for measuring what recording costs; `play` may say how many `millis` it takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def do(self, context: StepContext) -> Done:
        """Nothing, for as long as it was told."""
        await asyncio.sleep(context.job.request.get("play", {}).get("millis", 0) / 1000)
        return Done()

    async def undo(self, _context: StepContext) -> None:
        """Nothing."""


def plan(steps: list[Any], version: int) -> Plan:
    planned = tuple(
        PlannedStep(step, f"Playing {step.name}", 1.0, timedelta(seconds=300), retry=RETRY, undo_retry=RETRY) for step in steps
    )
    return Plan(JobKind.CLONE, version, planned, CloneEnding())


def _lease_clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def main() -> None:
    env = os.environ
    name, url, direct = env["CHAOS_NAME"], env["CHAOS_DATABASE_URL"], make_url(env["CHAOS_TARGET_URL"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    target = Target(
        name, host=direct.host, port=direct.port, user=direct.username, password=direct.password or "", database=direct.database
    )
    is_empty = env.get("CHAOS_EMPTY") == "1"
    slots = int(env["CHAOS_SLOTS"])
    kind, clock = MysqlStore if is_empty else RecordedStore, SystemClock()
    store = await opened(lambda: kind.open(url, pool_size=min(10, slots + 2)), clock)
    if isinstance(store, RecordedStore):
        store.target = target
    bus = await JetStreamBus.open(env["CHAOS_NATS_URL"], name=name, closed=stop.set, anew=store.ring_all_again)
    steps: list[Any] = [EmptyStep(step) if is_empty else Step(step, target) for step in STEPS]
    plans = Plans(plan(steps, int(version)) for version in env["CHAOS_VERSIONS"].split(","))
    parts = Parts(
        name, slots, store, bus, RenewalLine(url), plans, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom), clock,
        random.random, Metrics(CollectorRegistry()), Failpoints(env.get("CHAOS_FAILPOINT", "")),
        (lambda: 0.0) if env.get("CHAOS_UNGUARDED") == "1" else _lease_clock, os._exit,
    )  # fmt: skip
    try:
        await assemble(parts).run(stop, grace=20)
    finally:
        await bus.close()
        await store.close()


def run() -> None:
    """Work until SIGTERM."""
    configure("worker", level="warning")
    uvloop.run(main())
