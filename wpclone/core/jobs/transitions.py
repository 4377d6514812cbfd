"""Every change a job may make, each a named constructor. Nobody writes a state; one asks for a transition.

A transition is a value: which states it may start from, where it leads, under which fence, and what else it sets. The
store applies it as one guarded UPDATE (`WHERE job_id AND fence AND status`) that also adds one to the revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from wpclone.core.jobs.job import Claim, Facts, Job, JobError, Step
from wpclone.core.jobs.states import TRANSITIONS, CloneState, JobState, Verdict


@dataclass(frozen=True)
class CloneChange:
    """What a transition does to the job's clone in the same transaction. `starts_ttl` sets ready_at and expires_at."""

    state: CloneState
    facts: Facts | None = None
    url: str | None = None
    admin_login: str | None = None
    starts_ttl: bool = False


@dataclass(frozen=True)
class KeptSet:
    """The old content of a restore's target is kept that long, counted from the job's completion, for a rollback."""

    keep_for: timedelta


Change = CloneChange | KeptSet
"""What the end of a job changes beside the job itself."""


@dataclass(frozen=True)
class Transition:
    """One guarded change of one job.

    `sets` are columns of `jobs` by name; `step` is upserted into `job_steps`, and `follower`, the step that begins with the end
    of that one, beside it; `keeps` records what a restore put aside;
    `known` is the job as its worker knows it, so that a store need not read what nobody else may have changed;
    `pause` becomes `next_run_at` relative to the database's clock; `releases` ends the claim; `forbids_cancel` requires that
    nobody asked to cancel and no verdict was written.
    """

    name: str
    job_id: str
    fence: int
    target: JobState
    sets: Mapping[str, Any] = field(default_factory=dict)
    step: Step | None = None
    follower: Step | None = None
    clone: CloneChange | None = None
    keeps: KeptSet | None = None
    pause: timedelta | None = None
    releases: bool = False
    forbids_cancel: bool = False
    known: Job | None = field(default=None, repr=False, compare=False)

    @property
    def sources(self) -> frozenset[JobState]:
        """The states this transition may start from. All claimed work starts from `running`."""
        return frozenset({JobState.RUNNING})

    @property
    def steps(self) -> tuple[Step, ...]:
        """The rows of `job_steps` this writes."""
        return tuple(step for step in (self.step, self.follower) if step is not None)

    def __post_init__(self) -> None:
        if any(self.target not in TRANSITIONS[source] for source in self.sources):
            raise ValueError(f"{self.name}: {self.target} may not follow {sorted(self.sources)}")


def step_started(claim: Claim, step: Step, *, status_message: str) -> Transition:
    """The runner is about to do `step`; watchers see its message."""
    return _working(claim, "step_started", {"status_message": status_message}, step)


def progressed(claim: Claim, *, progress: int, status_message: str) -> Transition:
    """Progress inside a step, 0 to 100; the store never lets it fall."""
    return _working(claim, "progressed", {"progress": progress, "status_message": status_message}, None)


def step_done(claim: Claim, step: Step, *, progress: int) -> Transition:
    """A step's work is recorded; the job's attempt count starts anew for the next one."""
    return _working(claim, "step_done", {"progress": progress, "attempt": 0}, step)


def step_followed(done: Transition, follower: Step, *, status_message: str) -> Transition:
    """`step_done`, and in the same change the start of the step that comes next: half the commits of a job."""
    return replace(done, name="step_followed", sets={**done.sets, "status_message": status_message}, follower=follower)


def step_undone(claim: Claim, step: Step) -> Transition:
    """A step's undo is recorded."""
    return _working(claim, "step_undone", {"attempt": 0}, step)


def retry_later(claim: Claim, step: Step, *, attempt: int, pause: timedelta, status_message: str) -> Transition:
    """A step failed at its own work and waits for its next attempt."""
    sets = {"attempt": attempt, "status_message": status_message}
    return Transition(
        "retry_later", claim.job.job_id, claim.fence, JobState.PENDING, sets=sets, step=step, pause=pause, releases=True
    )


def condemned(claim: Claim, verdict: Verdict, error: JobError, step: Step | None, *, status_message: str) -> Transition:
    """The verdict and its error, written before the first undo."""
    sets = {"verdict": verdict, "error": error, "attempt": 0, "status_message": status_message}
    return _working(claim, "condemned", sets, step)


def completed(claim: Claim, *, result: Facts, status_message: str, clone: Change | None, last: Step | None = None) -> Transition:
    """All steps are done and nobody asked to cancel. `last` is the step whose end is recorded with the job's, if any."""
    sets = {"result": result, "progress": 100, "attempt": 0, "status_message": status_message, "error": None}
    return Transition(
        "completed", claim.job.job_id, claim.fence, JobState.COMPLETED, sets=sets, step=last, releases=True, forbids_cancel=True,
        clone=clone if isinstance(clone, CloneChange) else None, keeps=clone if isinstance(clone, KeptSet) else None,
    )  # fmt: skip


def failed(claim: Claim, *, clone: CloneChange | None, needs_attention: bool, status_message: str) -> Transition:
    """The last undo of a job with a FAIL verdict is over; `needs_attention` when an undo gave up."""
    sets = {"needs_attention": needs_attention, "status_message": status_message}
    return Transition("failed", claim.job.job_id, claim.fence, JobState.FAILED, sets=sets, clone=clone, releases=True)


def cancelled(claim: Claim, *, clone: CloneChange | None, needs_attention: bool, status_message: str) -> Transition:
    """The last undo of a job with a CANCEL verdict is over."""
    sets = {"needs_attention": needs_attention, "status_message": status_message}
    return Transition("cancelled", claim.job.job_id, claim.fence, JobState.CANCELLED, sets=sets, clone=clone, releases=True)


def handed_back(claim: Claim) -> Transition:
    """A draining worker gives the job up; no attempt and no lapse is counted, and it may run at once."""
    return Transition("handed_back", claim.job.job_id, claim.fence, JobState.PENDING, pause=timedelta(0), releases=True)


def _working(claim: Claim, name: str, sets: Mapping[str, Any], step: Step | None) -> Transition:
    return Transition(name, claim.job.job_id, claim.fence, JobState.RUNNING, sets=sets, step=step)
