"""What the relay rings: which jobs are due, in whose turn; both stores alike."""

from datetime import timedelta

from tests.support.stores import (
    CUSTOMER,
    DUE_NOW,
    StoreBench,
    accepted_clone,
    at_once,
    claimed,
    job_id,
    new_job,
    with_customer,
)
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Limits, Step
from wpclone.core.jobs.states import Priority, StepState
from wpclone.core.store import Share


async def test_a_new_job_is_rung_by_the_relay_after_two_seconds_and_again_after_thirty(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.advance(2.1)
    (ring,) = await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)
    assert (ring.job_id, ring.enqueue_seq, ring.priority, ring.traceparent) == (job_id(1), 2, Priority.NORMAL, "00-trace-span-01")
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.store.unring([job_id(1)])
    await bench.advance(0.001)
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1
    await bench.advance(30.1)
    (third,) = await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)
    assert third.enqueue_seq == 4
    assert await bench.store.ring_all_again() == 1
    await bench.advance(0.001)
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1


async def test_a_running_job_is_rung_only_when_its_lease_is_over_for_long_enough(bench: StoreBench) -> None:
    await accepted_clone(bench.store)
    await claimed(bench.store, job_id(1))
    await bench.advance(10)
    assert await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW) == []
    await bench.advance(6)
    assert await bench.store.due(per_customer=5, most=5, quiet=timedelta(seconds=5)) == []
    assert await bench.store.due(per_customer=5, most=5, quiet=timedelta.max) == []
    assert len(await bench.store.due(per_customer=5, most=5, quiet=DUE_NOW)) == 1


async def test_customers_are_rung_in_turns_and_urgent_jobs_first(bench: StoreBench) -> None:
    await with_customer(bench.store, "a")
    await with_customer(bench.store, "b")
    for n in range(1, 9):
        await bench.store.accept(new_job(n, customer_id="a"))
    await bench.store.accept(new_job(20, customer_id="a", priority=Priority.HIGH))
    await bench.store.accept(new_job(30, customer_id="b"))
    await bench.store.accept(new_job(31, customer_id="b"))
    await bench.advance(3)
    rings = await bench.store.due(per_customer=3, most=4, quiet=DUE_NOW)
    assert [ring.job_id for ring in rings] == [job_id(20), job_id(30), job_id(1), job_id(31)]
    assert [r.job_id for r in await bench.store.due(per_customer=3, most=9, quiet=DUE_NOW)] == [job_id(2), job_id(3), job_id(4)]


async def test_who_waits_and_who_runs_is_told_by_customer_and_priority(bench: StoreBench) -> None:
    assert await bench.store.shares() == []
    await with_customer(bench.store, "a")
    await with_customer(bench.store, "b", Limits(running_jobs=1))
    for n in range(1, 4):
        await bench.store.accept(new_job(n, customer_id="a"))
    for n in (11, 12):
        await bench.store.accept(new_job(n, customer_id="b", priority=Priority.HIGH))
    await claimed(bench.store, job_id(1))
    await claimed(bench.store, job_id(11))
    assert await bench.store.claim(job_id(12), worker="w1") is None
    shares = sorted(await bench.store.shares(), key=lambda share: share.customer_id)
    assert shares == [Share("a", Priority.NORMAL, 2, 1), Share("b", Priority.HIGH, 0, 1)]


async def test_a_customers_next_job_is_the_one_that_waits_longest(bench: StoreBench) -> None:
    for n in (3, 2):
        await accepted_clone(bench.store, n)
        await bench.advance(1)
    await bench.store.accept(new_job(1, priority=Priority.HIGH))
    claim = await claimed(bench.store, job_id(2))
    step = Step("one", 0, StepState.WAITING, attempts=1)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[]) == job_id(3)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) is None
    await bench.store.apply(transitions.retry_later(claim, step, attempt=1, pause=timedelta(seconds=60), status_message=""))
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) is None
    await bench.advance(61)
    assert await bench.store.next_waiting(CUSTOMER, Priority.NORMAL, but=[job_id(3)]) == job_id(2)
    assert await bench.store.next_waiting(CUSTOMER, Priority.HIGH, but=[job_id(3)]) == job_id(1)
    assert await bench.store.next_waiting("other", Priority.NORMAL, but=[]) is None


async def test_two_relays_never_ring_the_same_job(bench: StoreBench) -> None:
    for n in range(1, 21):
        await accepted_clone(bench.store, n)
    await bench.advance(3)
    rings = await at_once(bench.store, [bench.store.due(per_customer=99, most=99, quiet=DUE_NOW) for _ in range(4)])
    rung = [ring.job_id for some in rings for ring in some]
    assert sorted(rung) == [job_id(n) for n in range(1, 21)]


async def test_the_queue_is_as_deep_as_what_could_run_now(bench: StoreBench) -> None:
    depth = await bench.store.queue_depth()
    assert (depth.runnable, depth.running, depth.oldest_seconds) == (0, 0, 0.0)
    await accepted_clone(bench.store, 1)
    await accepted_clone(bench.store, 2)
    await claimed(bench.store, job_id(1))
    await bench.advance(7)
    depth = await bench.store.queue_depth()
    assert (depth.runnable, depth.running) == (1, 1)
    assert 6.9 < depth.oldest_seconds < 30
