"""When a job will be done: the usual time of what is still to come."""

from dataclasses import replace
from datetime import timedelta

import pytest

from server.estimates import Estimates
from tests.support.clock import START, ManualClock
from tests.support.jobs import CUSTOMER, new_clone, new_clone_job
from wpclone.core.jobs.job import Job, Limits, Step
from wpclone.core.jobs.states import JobKind, JobState, StepState, Verdict
from wpclone.core.store.memory import MemoryStore

USUAL = {"preflight": 2.0, "copy_files": 40.0, "copy_tables": 20.0}


async def estimates_and_job(monkeypatch: pytest.MonkeyPatch, usual: dict[str, float]) -> tuple[Estimates, Job]:
    clock = ManualClock()
    store = MemoryStore(clock)

    async def seconds(_kind: JobKind) -> dict[str, float]:
        return usual

    monkeypatch.setattr(store, "step_seconds", seconds)
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
    estimates, job = await estimates_and_job(monkeypatch, {})
    assert estimates.completion(job) is None
    estimates, job = await estimates_and_job(monkeypatch, USUAL)
    assert estimates.completion(replace(job, state=JobState.COMPLETED)) is None
    assert estimates.completion(replace(job, verdict=Verdict.FAIL)) is None
    assert estimates.completion(replace(job, cancel_requested_at=START)) is None
