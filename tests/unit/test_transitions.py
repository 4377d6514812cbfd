"""The one table of what may follow what, and the constructors that obey it."""

from datetime import UTC, datetime, timedelta

import pytest

from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, Job, JobError, Step
from wpclone.core.jobs.states import TRANSITIONS, JobKind, JobState, Priority, StepState, Verdict
from wpclone.core.jobs.transitions import Transition

NOW = datetime(2030, 1, 1, tzinfo=UTC)
JOB = Job(
    job_id="clone-000000000001", kind=JobKind.CLONE, state=JobState.RUNNING, customer_id="acme", priority=Priority.NORMAL,
    revision=2, fence=7, enqueue_seq=1, definition_version=1, request={}, created_at=NOW, updated_at=NOW, deadline_at=NOW,
    next_run_at=NOW,
)  # fmt: skip
CLAIM = Claim(JOB, "w1", 7)
STEP = Step("copy", 0, StepState.RUNNING)


def test_terminal_states_are_those_nothing_follows() -> None:
    assert {state for state in JobState if state.is_terminal} == {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


def test_a_transition_the_table_forbids_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSITIONS, JobState.RUNNING, frozenset({JobState.FAILED}))
    with pytest.raises(ValueError, match="may not follow"):
        Transition("wrong", JOB.job_id, 7, JobState.COMPLETED)


def test_every_end_and_every_pause_releases_the_claim_and_nothing_else_does() -> None:
    end = {"clone": None, "needs_attention": False, "status_message": ""}
    releasing = [
        transitions.retry_later(CLAIM, STEP, attempt=1, pause=timedelta(1), status_message=""),
        transitions.handed_back(CLAIM),
        transitions.completed(CLAIM, result={}, status_message="", clone=None),
        transitions.failed(CLAIM, **end),  # type: ignore[arg-type]
        transitions.cancelled(CLAIM, **end),  # type: ignore[arg-type]
    ]
    working = [
        transitions.step_started(CLAIM, STEP, status_message=""),
        transitions.progressed(CLAIM, progress=1, status_message=""),
        transitions.step_done(CLAIM, STEP, progress=1),
        transitions.step_followed(transitions.step_done(CLAIM, STEP, progress=1), STEP, status_message=""),
        transitions.step_undone(CLAIM, STEP),
        transitions.condemned(CLAIM, Verdict.FAIL, JobError("m", "R"), STEP, status_message=""),
    ]
    assert all(t.releases and t.target is not JobState.RUNNING for t in releasing)
    assert all(not t.releases and t.target is JobState.RUNNING for t in working)
    assert all((t.job_id, t.fence) == (JOB.job_id, 7) for t in releasing + working)
    assert [t.forbids_cancel for t in releasing] == [False, False, True, False, False]


def test_a_job_with_a_verdict_or_a_cancel_request_is_to_be_undone() -> None:
    assert not JOB.is_to_be_undone
    assert Job(**{**vars(JOB), "verdict": Verdict.FAIL}).is_to_be_undone
    assert Job(**{**vars(JOB), "cancel_requested_at": NOW}).is_to_be_undone
