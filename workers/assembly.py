"""A worker from its parts, whatever store, bus and plans they are: the process and the tests put it together the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.claims import Claims
from workers.consumer import Consumer, Post
from workers.failpoints import Failpoints
from workers.job_secrets import Decrypter
from workers.leases import Leases, Line
from workers.maintenance.relay import Relay
from workers.plans import Plans
from workers.runner import Runner, Tools
from workers.worker import Cancels, Worker
from wpclone.core.bus import Bus
from wpclone.core.clock import Clock
from wpclone.core.jobs.retry import Chance
from wpclone.core.loop_delay import LoopDelay
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore
from wpclone.core.supervise import Loop, Supervisor


@dataclass(frozen=True)
class Parts:
    """What a worker is made of. `name` is who its claims belong to; `lease_clock` counts suspended time too."""

    name: str
    slots: int
    store: JobStore
    bus: Bus
    line: Line
    plans: Plans
    keys: Decrypter
    clock: Clock
    chance: Chance
    metrics: Metrics
    failpoints: Failpoints
    lease_clock: Callable[[], float]
    exit_process: Callable[[int], None]


def assemble(parts: Parts, loops: Sequence[Loop] = ()) -> Worker:
    """The worker, with a relay, a listener for cancels, and these loops besides."""
    leases = Leases(parts.line, parts.name, monotonic=parts.lease_clock, exit_process=parts.exit_process)
    tools = Tools(parts.store, parts.bus, parts.keys, parts.clock, parts.chance, parts.failpoints, parts.metrics)
    runner = Runner(parts.plans, tools, on_stuck=leases.abandon)
    claims = Claims(parts.store, leases, runner, parts.clock, parts.metrics, worker=parts.name)
    post = Post(parts.store, parts.bus, parts.clock, parts.metrics, parts.failpoints)
    relay = Relay(parts.store, parts.bus, parts.clock, parts.metrics)
    delay = LoopDelay(parts.clock, parts.metrics)
    always = [
        Loop("relay", relay.once, 1.0),
        Loop("cancels", Cancels(parts.bus, leases).once, 1.0),
        Loop("loop delay", delay.once, 0.0),
        Loop("lost claims", claims.give_back_lost, 2.0),
    ]
    supervisor = Supervisor(parts.clock, parts.chance)
    return Worker(Consumer(post, claims, slots=parts.slots), leases, supervisor, [*always, *loops])
