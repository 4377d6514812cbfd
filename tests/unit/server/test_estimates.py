"""When a job will be done: the usual time of what is still to come."""

from dataclasses import replace
from datetime import timedelta

import pytest

from server.estimates import Estimates, Line
from tests.support.clock import START, ManualClock
from tests.support.jobs import CUSTOMER, new_clone, new_clone_job
from wpclone.core.jobs.job import Job, Limits, Step
from wpclone.core.jobs.states import JobKind, JobState, StepState, Verdict
from wpclone.core.store import PastRun
from wpclone.core.store.memory import MemoryStore

USUAL = PastRun({"preflight": 2.0, "copy_files": 40.0, "copy_tables": 20.0})


async def estimates_and_job(monkeypatch: pytest.MonkeyPatch, *past: PastRun) -> tuple[Estimates, Job]:
    clock = ManualClock()
    store = MemoryStore(clock)

    async def past_runs(_kind: JobKind) -> list[PastRun]:
        return list(past)

    monkeypatch.setattr(store, "past_runs", past_runs)
    estimates = Estimates(store, clock)
    await estimates.refresh()
    await store.create_customer(CUSTOMER, Limits())
    return estimates, await store.accept(new_clone_job(), clone=new_clone())


async def test_a_new_job_takes_as_long_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates, job = await estimates_and_job(monkeypatch, USUAL)
    assert estimates.completion(job) == START + timedelta(seconds=62)


async def test_what_is_done_and_what_is_under_way_no_longer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates, job = await estimates_and_job(monkeypatch, USUAL)
    done = Step("preflight", 1, StepState.DONE)
    running = Step("copy_files", 2, StepState.RUNNING, 1, START - timedelta(seconds=30))
    assert estimates.completion(replace(job, steps=(done, running))) == START + timedelta(seconds=30)
    slow = replace(running, started_at=START - timedelta(seconds=300))
    assert estimates.completion(replace(job, steps=(done, slow))) == START + timedelta(seconds=20)


async def test_a_job_that_waits_is_late_by_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates, job = await estimates_and_job(monkeypatch, USUAL)
    waiting = replace(job, next_run_at=START + timedelta(seconds=8))
    assert estimates.completion(waiting) == START + timedelta(seconds=70)


async def test_there_is_no_estimate_without_experience_or_when_it_will_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates, job = await estimates_and_job(monkeypatch)
    assert estimates.completion(job) is None
    estimates, job = await estimates_and_job(monkeypatch, USUAL)
    assert estimates.completion(replace(job, state=JobState.COMPLETED)) is None
    assert estimates.completion(replace(job, verdict=Verdict.FAIL)) is None
    assert estimates.completion(replace(job, cancel_requested_at=START)) is None


async def test_a_large_site_takes_longer_where_the_size_of_past_ones_made_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    past = [PastRun({"preflight": 2.0, "copy_files": 10.0 + n}, n * 1_000_000) for n in (10, 20, 30, 40)]
    stalled = PastRun({"preflight": 2.0, "copy_files": 900.0}, 25_000_000)
    estimates, job = await estimates_and_job(monkeypatch, *past, stalled)
    looked = Step("preflight", 1, StepState.DONE, facts={"site_bytes": 100_000_000})
    took = estimates.completion(replace(job, steps=(looked,)))
    assert took is not None
    assert 105 < (took - START).total_seconds() < 115


async def test_a_job_that_has_not_looked_yet_is_taken_for_one_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    past = [PastRun({"copy_files": float(n)}, n * 1_000_000) for n in (10, 20, 60)]
    estimates, job = await estimates_and_job(monkeypatch, *past, PastRun({"copy_files": 21.0}))
    took = estimates.completion(job)
    assert took is not None
    assert 19.9 < (took - START).total_seconds() < 21.1


def test_a_line_never_falls_and_never_begins_below_nothing() -> None:
    assert Line.through([(10, 9.0), (20, 3.0), (30, 3.0)]) == Line(3.0, 0.0)
    assert Line.through([(10, 1.0), (20, 11.0)]) == Line(0.0, 1.0)
    assert Line.through([(7, 4.0)]).at(1_000_000) == 4.0
