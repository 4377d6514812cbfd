"""What a step is, and what it is told.

A step's `do` and `undo` may each run twice: after a crash nobody knows whether the effect happened. They say what to do next by
type: return `Done(facts)`, raise `RetryLater` or `Fatal` (`wpclone.core.jobs.errors`); anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from workers.job_secrets import JobSecrets
from wpclone.core.jobs.job import Facts, Job

Report = Callable[[float, str], None]
"""How far a step is, 0.0 to 1.0, and a sentence for people. Cheap, from the event loop's thread, as often as one likes."""


@dataclass(frozen=True)
class Done:
    """The step's work is there; `facts` (JSON, no secrets) are recorded and given to later steps."""

    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class StepContext:
    """What a step may know of its job.

    `fence` is the claim's: effects outside the job store must carry it. `facts` are those of finished steps, by step name, and,
    during undo, those of the step itself. `is_last_attempt` says that a failure now is final.
    """

    job: Job
    fence: int
    facts: Mapping[str, Facts]
    secrets: JobSecrets
    report: Report
    attempt: int = 1
    is_last_attempt: bool = False

    @property
    def clone_id(self) -> str:
        """The clone this job is about. Raises ValueError for a job without one."""
        if self.job.clone_id is None:
            raise ValueError(f"{self.job.job_id} has no clone")
        return self.job.clone_id


class Step(Protocol):
    """One unit of a plan."""

    @property
    def name(self) -> str:
        """Its name in `job_steps` and in the API: snake case, never changed once released."""

    async def do(self, context: StepContext) -> Done:
        """Make the effect, or find that an earlier attempt made it."""

    async def undo(self, context: StepContext) -> None:
        """Remove the effect, whole or half made, or find that it has gone."""
