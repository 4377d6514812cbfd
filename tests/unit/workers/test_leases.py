import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from tests.support.wait import until_async
from tests.unit.workers.desk import Desk
from workers.leases import EXIT_CODE, Leases
from workers.orders import Orders
from wpclone.core.jobs.job import Claim, Renewal


class PlayedLine:
    """A line to a store that answers, forgets jobs, or is out."""

    def __init__(self) -> None:
        self.is_out = False
        self.lost: set[str] = set()
        self.cancelled: set[str] = set()
        self.asked: list[dict[str, int]] = []
        self.during_look: Callable[[], None] = lambda: None
        self.during_renewal: Callable[[], None] = lambda: None

    def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        self.asked.append(fences)
        self.during_renewal()
        if self.is_out:
            raise OSError("no route")
        return [Renewal(job_id, fence, job_id in self.cancelled) for job_id, fence in fences.items() if job_id not in self.lost]

    def seen(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        self.during_look()
        if self.is_out:
            raise OSError("no route")
        return [Renewal(job_id, fence, job_id in self.cancelled) for job_id, fence in fences.items()]

    def close(self) -> None:
        pass


class Watch:
    """Leases without their threads, and a task that runs under them."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.exits: list[int] = []
        self.line = PlayedLine()
        self.leases = Leases(self.line, "w1", monotonic=lambda: self.seconds, exit_process=self.exits.append)
        self.orders = Orders()
        self.release = asyncio.Event()
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        await self.release.wait()

    def at(self, seconds: float) -> None:
        self.seconds = seconds
        self.leases.look()


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    desk, watch = Desk(), Watch()
    watch.leases.start(asyncio.get_running_loop())
    await desk.accept()
    watch.leases.hold(await desk.claim(), watch.task, watch.orders, sent_at=0.0)
    yield watch
    watch.task.cancel()
    await asyncio.gather(watch.task, return_exceptions=True)
    watch.leases.stop()


async def test_a_renewal_counts_from_when_it_was_sent(watch: Watch) -> None:
    watch.seconds = 9.0
    assert watch.leases.renew_once()
    watch.at(18.9)
    await asyncio.sleep(0)
    assert not watch.task.cancelling()


async def test_an_answer_for_the_claim_before_says_nothing_of_this_one(watch: Watch) -> None:
    """The job was lost, and claimed again by the same worker, while the renewal was on its way."""
    held = next(iter(watch.leases._held.values())).claim
    watch.line.lost.add(held.job.job_id)
    watch.line.during_renewal = lambda: watch.leases.hold(
        replace(held, fence=held.fence + 1), watch.task, watch.orders, sent_at=watch.seconds
    )
    assert watch.leases.renew_once()
    watch.line.during_renewal = lambda: None
    assert not watch.leases.renew_once()


async def test_after_ten_seconds_without_renewal_the_task_is_cancelled_and_the_process_stays(watch: Watch) -> None:
    watch.line.is_out = True
    watch.seconds = 5.0
    assert not watch.leases.renew_once()
    watch.at(10.0)
    await asyncio.wait([watch.task])
    watch.at(60.0)
    assert watch.task.cancelled()
    assert watch.exits == []


async def test_after_twelve_seconds_the_process_exits_if_the_task_still_runs(watch: Watch) -> None:
    watch.line.is_out = True
    watch.at(10.0)
    watch.at(11.9)
    assert watch.exits == []
    watch.at(12.0)
    # The loop never ran in between: the task could not end.
    assert watch.exits == [EXIT_CODE]


async def test_a_job_that_is_missing_twice_is_lost_and_its_task_cancelled(watch: Watch) -> None:
    watch.line.lost.update(watch.leases._held)
    assert not watch.leases.renew_once()
    await asyncio.sleep(0)
    assert not watch.task.cancelling()
    assert not watch.leases.renew_once()
    await asyncio.wait([watch.task])
    assert watch.task.cancelled()


async def test_a_cancel_request_is_seen_when_told_and_renews_nothing(watch: Watch) -> None:
    watch.line.cancelled.update(watch.leases._held)
    watch.leases.ask_now()
    await _is_cancelled(watch)
    assert watch.line.asked == []


async def test_a_cancel_request_that_was_not_told_comes_with_the_renewal(watch: Watch) -> None:
    watch.line.cancelled.update(watch.leases._held)
    watch.leases.renew_once()
    await _is_cancelled(watch)


async def test_leases_are_renewed_however_often_cancels_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.leases.RENEW_EVERY", 0.05)
    watch = Watch()
    watch.leases.start(asyncio.get_running_loop())
    watch.leases.hold(await _claimed(), watch.task, watch.orders, sent_at=0.0)
    watch.line.during_look = watch.leases.ask_now  # the next cancel comes while the last is looked for

    async def is_renewed() -> bool:
        return len(watch.line.asked) > 2

    try:
        watch.leases.ask_now()
        await until_async(is_renewed, within=5)
    finally:
        watch.release.set()
        await watch.task
        watch.leases.stop()


async def _claimed() -> Claim:
    desk = Desk()
    await desk.accept()
    return await desk.claim()


async def test_a_look_for_cancels_that_fails_leaves_them_to_the_renewal(watch: Watch) -> None:
    watch.line.cancelled.update(watch.leases._held)
    watch.line.is_out = True
    watch.leases.look_for_cancels()
    watch.line.is_out = False
    watch.leases.renew_once()
    await _is_cancelled(watch)


async def _is_cancelled(watch: Watch) -> None:
    async def is_cancelled() -> bool:
        return watch.orders.is_cancelled

    await until_async(is_cancelled, within=3, every=0.005)


async def test_an_abandoned_job_is_no_longer_renewed(watch: Watch) -> None:
    watch.leases.abandon(next(iter(watch.leases._held)))
    watch.leases.renew_once()
    assert watch.line.asked == []


async def test_a_released_job_is_neither_renewed_nor_watched(watch: Watch) -> None:
    watch.leases.release(next(iter(watch.leases._held)))
    watch.at(60.0)
    assert watch.leases.renew_once()
    assert (watch.line.asked, watch.exits) == ([], [])
