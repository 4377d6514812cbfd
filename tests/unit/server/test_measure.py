"""What the server tells about the queue, the broker and jobs that need somebody."""

import math

import pytest

from server.measure import Measure
from tests.support.jobs import clone_plan, planned
from tests.unit.workers.desk import Desk
from workers.step import StepContext
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.jobs.errors import BusUnavailable, Fatal
from wpclone.core.jobs.job import Ring
from wpclone.core.jobs.states import Priority, Verdict


def told(desk: Desk, name: str) -> float | None:
    return desk.metrics.registry.get_sample_value(name)


async def test_the_queue_is_measured() -> None:
    desk = Desk()
    await desk.accept(1)
    await desk.accept(2)
    await desk.claim(2)
    desk.clock.advance(7)
    await Measure(desk.store, MemoryBus(), desk.metrics).once()
    assert (told(desk, "clone_queue_depth"), told(desk, "clone_queue_oldest_seconds"), told(desk, "clone_queue_running")) == (
        1,
        7,
        1,
    )


async def test_jobs_that_need_attention_are_counted() -> None:
    desk = Desk()
    await desk.accept()

    def refuses(_context: StepContext) -> None:
        raise Fatal("STUCK", "It does not go away.")

    plan = clone_plan(planned(desk.step("one", acts=refuses, undo_acts=refuses)))
    job = await desk.run_to_the_end(plan)
    assert (job.needs_attention, job.verdict) == (True, Verdict.FAIL)
    await Measure(desk.store, MemoryBus(), desk.metrics).once()
    assert told(desk, "clone_needs_attention") == 1


async def test_the_brokers_storage_is_told_and_its_outage_hides_no_queue() -> None:
    desk, bus = Desk(), MemoryBus()
    measure = Measure(desk.store, bus, desk.metrics)
    await bus.ring(Ring("clone-00000000000a", 1, Priority.NORMAL))
    await measure.once()
    used = told(desk, "clone_bus_storage_bytes")
    assert used is not None
    assert used > 0
    assert told(desk, "clone_bus_storage_limit_bytes") == math.inf
    bus.cut()
    await desk.accept()
    with pytest.raises(BusUnavailable):
        await measure.once()
    assert (told(desk, "clone_queue_depth"), told(desk, "clone_bus_storage_bytes")) == (1, used)
