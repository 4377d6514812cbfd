"""The plan of a clone job, and what its end says: the result a customer reads and the clone's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from workers.clone_databases import CloneDatabases
from workers.clone_report import clone_report
from workers.dry_run_plan import dry_run_plan
from workers.pages import Pages
from workers.plans import Plan, PlannedStep
from workers.source_visit import looking, reaching, releasing
from workers.sources import Sources
from workers.steps.copy_files import CopyFiles
from workers.steps.copy_tables import CopyTables
from workers.steps.create_database import CreateDatabase
from workers.steps.create_site import CreateSite
from workers.steps.guard import Guard, GuardRoom
from workers.steps.preflight import Preflight, Room
from workers.steps.record_base import RecordBase
from workers.steps.verify import Verify
from wpclone.core.jobs.job import Facts, Job
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import CloneState, JobKind
from wpclone.core.jobs.transitions import CloneChange

VERSION = 3
"""The newest definition of a clone job; `NewJob.definition_version` names it. Version 2 leaves out what a request excludes,
and has dry runs: a worker that would copy it all must not take such a job. Version 3 remembers the clone's rows for a restore."""

_PATIENT = RetryPolicy(attempts=6, base=timedelta(seconds=2), most=timedelta(seconds=120))
_HEALTH = RetryPolicy(attempts=4, base=timedelta(seconds=1), most=timedelta(seconds=5))


@dataclass(frozen=True)
class CloneTools:
    """What the steps of a clone job work with. `work` is a directory all workers share, outside of docroots."""

    sources: Sources
    databases: CloneDatabases
    guard: GuardRoom
    room: Room
    pages: Pages
    work: Path


def clone_plans(tools: CloneTools) -> tuple[Plan, ...]:
    """All versions this worker can run, dry runs too. Jobs of version 1 exclude nothing; their steps are those of version 2."""
    plan = clone_plan(tools)
    older = replace(plan, steps=tuple(planned for planned in plan.steps if planned.step.name != RecordBase.name))
    dry = [dry_run_plan(version, tools.sources, tools.room) for version in (2, VERSION)]
    return (plan, replace(older, version=1), replace(older, version=2), *dry)


def clone_plan(tools: CloneTools) -> Plan:
    """The newest version."""
    sources, databases, runtime, work = tools.sources, tools.databases, tools.guard.runtime, tools.work
    steps = (
        reaching(sources),
        looking(Preflight(sources, tools.room)),
        PlannedStep(CreateDatabase(databases, runtime), "Creating the database", 1, _minutes(1)),
        PlannedStep(CreateSite(runtime), "Creating the site", 1, _minutes(5), undo_deadline=_minutes(6)),
        PlannedStep(
            CopyFiles(sources, runtime, work, tools.room.free), "Copying files", 45, _minutes(240), _PATIENT, resumable=True
        ),
        PlannedStep(CopyTables(sources, databases, runtime), "Copying tables", 35, _minutes(240), _PATIENT, resumable=True),
        PlannedStep(RecordBase(databases, runtime), "Remembering the copy for a restore", 3, _minutes(65)),
        PlannedStep(Guard(sources, tools.guard), "Guarding and serving the clone", 6, _minutes(15)),
        PlannedStep(Verify(tools.pages, databases, work), "Verifying the clone", 4, _minutes(3), _HEALTH),
        releasing(sources),
    )
    return Plan(JobKind.CLONE, VERSION, steps, CloneEnding())


class CloneEnding:
    """What the end of a clone job means."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, CloneChange | None]:
        """The clone is ready and its time begins."""
        guard, files, tables = facts[Guard.name], facts[CopyFiles.name], facts[CopyTables.name]
        result = {
            "clone_id": job.clone_id,
            "clone_url": guard["url"],
            "username": guard["admin_login"],
            "rows": sum(table["rows"] for table in tables["tables"]),
            "files": files["files"],
            "bytes": files["bytes"] + sum(table["bytes"] for table in tables["tables"]),
            "copy_seconds": round(_seconds(job, CopyFiles.name) + _seconds(job, CopyTables.name), 3),
            "consistency": tables["consistency"],
            "egress": guard["egress"],
            "report": clone_report(facts),
        }
        change = CloneChange(
            CloneState.READY, facts=_clone_facts(facts), url=guard["url"], admin_login=guard["admin_login"], starts_ttl=True
        )
        return result, change

    def given_up(self, job: Job) -> CloneChange | None:
        """There is no clone."""
        return CloneChange(CloneState.FAILED)


def _clone_facts(facts: Mapping[str, Facts]) -> dict[str, Any]:
    site = facts[Preflight.name]["report"]
    told = {name: site[name] for name in ("table_prefix", "wp_version", "home", "siteurl")}
    return {**told, "docroot": facts[CreateSite.name]["docroot"]}


def _seconds(job: Job, name: str) -> float:
    for step in job.steps:
        if step.name == name and step.started_at is not None and step.finished_at is not None:
            return (step.finished_at - step.started_at).total_seconds()
    return 0.0


def _minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
