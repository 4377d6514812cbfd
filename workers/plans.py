"""Which steps a job of each kind takes, in which order, with what limits; and what its end means for its clone.

A plan is pinned to a job by `definition_version`: a changed order, a new step or other facts are a new version beside the old
one, so that old and new workers run side by side. Limits and weights may change within a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from workers.progress import Scale, scale
from workers.step import Step
from wpclone.core.jobs.job import Facts, Job
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import JobKind
from wpclone.core.jobs.transitions import Change, CloneChange

DO = RetryPolicy()
"""Four attempts with pauses of up to 2, 4 and 8 seconds."""

UNDO = RetryPolicy(attempts=8, base=timedelta(seconds=1), most=timedelta(seconds=60))
"""An undo is tried longer than a do: what it cannot remove somebody has to remove by hand."""


@dataclass(frozen=True)
class PlannedStep:
    """A step's place in a plan.

    `message` is what watchers read while it runs; `weight` its share of the progress; `deadline` bounds one attempt; a
    `resumable` step goes on where it was, so a draining worker cuts it at once.
    """

    step: Step
    message: str
    weight: float
    deadline: timedelta
    retry: RetryPolicy = DO
    undo_deadline: timedelta = timedelta(seconds=120)
    undo_retry: RetryPolicy = UNDO
    resumable: bool = False


class Ending(Protocol):
    """What the end of a job means: its result, and what becomes of its clone."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, Change | None]:
        """The result, and what else changes, of a job whose steps are all done."""

    def given_up(self, job: Job) -> CloneChange | None:
        """The clone's change of a job that failed or was cancelled, after its undo."""


@dataclass(frozen=True)
class Plan:
    """A job kind's ordered steps at one version; those of its dry run, which only looks, beside it.

    `action`: what else a kind may do: a restore is also rolled back and released.
    """

    kind: JobKind
    version: int
    steps: tuple[PlannedStep, ...]
    ending: Ending
    is_dry_run: bool = False
    action: str = ""

    @property
    def scale(self) -> Scale:
        """How the steps share the progress."""
        return scale([planned.weight for planned in self.steps])


class Plans:
    """The plans this worker can run."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._plans = {(plan.kind, plan.version, plan.is_dry_run, plan.action): plan for plan in plans}

    def find(self, job: Job) -> Plan | None:
        """The plan of this job, or None when this worker is too old or too new for it."""
        asked = bool(job.request.get("dry_run")), str(job.request.get("action", ""))
        return self._plans.get((job.kind, job.definition_version, *asked))
