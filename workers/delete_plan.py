"""The plan of a delete job. It is patient, because what it leaves behind somebody has to remove by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from workers.clone_databases import CloneDatabases
from workers.plans import Plan, PlannedStep
from workers.runtimes import Runtime
from workers.steps.delete_clone import DropDatabase, StopSite
from wpclone.core.jobs.job import Facts, Job
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import CloneState, JobKind
from wpclone.core.jobs.transitions import CloneChange

VERSION = 1
"""The newest definition of a delete job; `NewJob.definition_version` names it."""

_PATIENT = RetryPolicy(attempts=20, base=timedelta(seconds=1), most=timedelta(minutes=5))


def delete_plan(runtime: Runtime, databases: CloneDatabases, work: Path) -> Plan:
    """Version 1."""
    steps = (
        PlannedStep(StopSite(runtime), "Stopping the clone", 3, timedelta(minutes=6), _PATIENT),
        PlannedStep(DropDatabase(databases, runtime, work), "Dropping its database", 1, timedelta(minutes=2), _PATIENT),
    )
    return Plan(JobKind.DELETE, VERSION, steps, DeleteEnding())


class DeleteEnding:
    """What the end of a delete job means."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, CloneChange | None]:
        """The clone has gone."""
        return {"clone_id": job.clone_id}, CloneChange(CloneState.DELETED)

    def given_up(self, job: Job) -> CloneChange | None:
        """The clone is in no good state, and its deletion can be asked for again."""
        return CloneChange(CloneState.FAILED)
