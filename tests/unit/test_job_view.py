"""A job's public view."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from wpclone.core.jobs.job import Job, JobError, Step
from wpclone.core.jobs.states import JobKind, JobState, Priority, StepState, Verdict
from wpclone.core.jobs.view import event, from_rfc3339, from_view, rfc3339, view

times = st.integers(0, 4 * 10**15).map(
    lambda microseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
texts = st.text(max_size=20)
facts = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=3), max_size=4)
errors = st.builds(JobError, texts, texts, texts, st.dictionaries(texts, texts, max_size=3))
steps = st.builds(
    Step, texts, st.integers(0, 20), st.sampled_from(StepState), st.integers(0, 9), st.none() | times, st.none() | times,
    st.none() | errors, facts,
)  # fmt: skip
jobs = st.builds(
    Job,
    job_id=texts,
    kind=st.sampled_from(JobKind),
    state=st.sampled_from(JobState),
    priority=st.sampled_from(Priority),
    verdict=st.none() | st.sampled_from(Verdict),
    request=facts,
    result=st.none() | facts,
    secrets=st.none() | st.binary(),
    error=st.none() | errors,
    steps=st.lists(steps, max_size=3).map(tuple),
    **dict.fromkeys(("created_at", "updated_at", "deadline_at", "next_run_at"), times),
    **dict.fromkeys(("completed_at", "cancel_requested_at", "estimated_completion"), st.none() | times),
)


@settings(deadline=None)
@given(jobs)
def test_a_view_is_json_and_reads_back_as_the_job_without_its_secrets(job: Job) -> None:
    assert from_view(json.loads(json.dumps(view(job)))) == replace(job, secrets=None)


@settings(deadline=None)
@given(jobs)
def test_a_view_never_holds_the_secrets(job: Job) -> None:
    assert "secrets" not in view(replace(job, secrets=b"s"))
    assert event(job).keys() == {"job_id", "revision", "job"}


def test_times_are_utc_with_microseconds_and_a_z() -> None:
    time = datetime(2030, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=2)))
    assert rfc3339(time) == "2030-01-02T01:04:05.000006Z"
    assert from_rfc3339("2030-01-02T01:04:05.000006Z") == time
