"""The plans of restore jobs: the restore itself, its dry run, and what takes back or drops what a restore put aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from workers.clone_databases import CloneDatabases
from workers.clone_report import integrity_report, rewrite_report
from workers.plans import Plan, PlannedStep
from workers.restore_sites import RestoreSites
from workers.steps.examine_target import ExamineTarget
from workers.steps.exchange import Exchange
from workers.steps.kept_set import Release, RollBack
from workers.steps.merge_tables import MergeTables
from workers.steps.preflight import Room
from workers.steps.reach_target import ReachRestored, ReachTarget, ReleaseRestored, ReleaseTarget
from workers.steps.read_target import PutAway, ReadTarget
from workers.steps.stage_files import PlanFiles, StageFiles
from workers.steps.stage_tables import CarryRows, StageTables
from wpclone.core.jobs.job import Facts, Job
from wpclone.core.jobs.retry import RetryPolicy
from wpclone.core.jobs.states import JobKind, KeptState
from wpclone.core.jobs.transitions import Change, CloneChange, KeptSet
from wpclone.core.kept_sets import ACTIONS, RESTORE_VERSION

_SITE = RetryPolicy(attempts=4, base=timedelta(seconds=1), most=timedelta(seconds=30))
_PATIENT = RetryPolicy(attempts=6, base=timedelta(seconds=2), most=timedelta(seconds=120))
_QUICK = RetryPolicy(attempts=3, base=timedelta(seconds=1), most=timedelta(seconds=5))
_STUBBORN = RetryPolicy(attempts=20, base=timedelta(seconds=1), most=timedelta(minutes=5))
"""For bringing a target back: giving up leaves it to people."""


@dataclass(frozen=True)
class RestoreTools:
    """What the steps of restore jobs work with. `keep_for`: how long the target's old content is kept for a rollback."""

    sites: RestoreSites
    databases: CloneDatabases
    room: Room
    keep_for: timedelta


def restore_plans(tools: RestoreTools) -> tuple[Plan, ...]:
    """All plans of restore jobs."""
    return _restore(tools), _dry_run(tools), _leaving(tools, KeptState.ROLLED_BACK), _leaving(tools, KeptState.RELEASED)


def _restore(tools: RestoreTools) -> Plan:
    sites, databases = tools.sites, tools.databases
    steps = (
        *_arriving(tools),
        _undone(StageTables(sites, databases), "Staging tables", 25, _minutes(240), resumable=True),
        PlannedStep(CarryRows(sites, databases), "Merging the target's own rows", 8, _minutes(240), _PATIENT),
        PlannedStep(StageFiles(sites, databases), "Staging files", 25, _minutes(240), _PATIENT, resumable=True),
        _undone(Exchange(sites, databases), "Exchanging the content", 10, _minutes(60)),
        *_departing(tools),
    )
    return Plan(JobKind.RESTORE, RESTORE_VERSION, steps, RestoreEnding(tools.keep_for))


def _dry_run(tools: RestoreTools) -> Plan:
    planning = PlannedStep(PlanFiles(tools.sites, tools.databases), "Comparing files", 20, _minutes(60), _SITE)
    steps = (*_arriving(tools), planning, *_departing(tools))
    return Plan(JobKind.RESTORE, RESTORE_VERSION, steps, DryRestoreEnding(), is_dry_run=True)


def _leaving(tools: RestoreTools, becomes: KeptState) -> Plan:
    steps = (
        _reaching(ReachTarget(tools.sites.sources), "Reaching the target"),
        PlannedStep(RollBack(tools.sites), "Bringing the old content back", 5, _minutes(60), _PATIENT)
        if becomes is KeptState.ROLLED_BACK
        else PlannedStep(Release(tools.sites), "Dropping the old content", 5, _minutes(60), _PATIENT),
        PlannedStep(ReleaseTarget(tools.sites.sources), "Removing our agent from the target", 1, _minutes(3), _QUICK),
    )
    return Plan(JobKind.RESTORE, RESTORE_VERSION, steps, LeavingEnding(), action=ACTIONS[becomes])


def _arriving(tools: RestoreTools) -> tuple[PlannedStep, ...]:
    """What a restore and its dry run have in common: nothing is written to the target but our agent."""
    sites, databases = tools.sites, tools.databases
    return (
        _reaching(ReachRestored(sites.sources), "Reaching the source"),
        _reaching(ReachTarget(sites.sources), "Reaching the target"),
        PlannedStep(ExamineTarget(sites, databases, tools.room), "Looking at both sites", 4, _minutes(30), _SITE),
        PlannedStep(ReadTarget(sites, databases), "Reading the target's tables", 15, _minutes(240), _PATIENT, resumable=True),
        PlannedStep(MergeTables(sites, databases), "Comparing rows", 6, _minutes(190), _SITE),
    )


def _departing(tools: RestoreTools) -> tuple[PlannedStep, ...]:
    sources = tools.sites.sources
    return (
        PlannedStep(PutAway(tools.databases), "Putting away", 1, _minutes(5), _SITE),
        PlannedStep(ReleaseRestored(sources), "Removing our agent from the source", 1, _minutes(3), _QUICK),
        PlannedStep(ReleaseTarget(sources), "Removing our agent from the target", 1, _minutes(3), _QUICK),
    )


def _reaching(step: ReachRestored | ReachTarget, message: str) -> PlannedStep:
    return PlannedStep(step, message, 3, _minutes(5), _SITE, undo_deadline=_minutes(3), undo_retry=_QUICK)


def _undone(
    step: StageTables | Exchange, message: str, weight: float, deadline: timedelta, *, resumable: bool = False
) -> PlannedStep:
    """A step whose undo brings the target back to what it was."""
    return PlannedStep(
        step, message, weight, deadline, _PATIENT, undo_deadline=_minutes(30), undo_retry=_STUBBORN, resumable=resumable
    )  # fmt: skip


class RestoreEnding:
    """What the end of a restore means: its target's old content is kept for a while."""

    def __init__(self, keep_for: timedelta) -> None:
        self._keep_for = keep_for

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, Change | None]:
        """What changed at the target, and how long that can be taken back."""
        tables, files = facts[StageTables.name]["tables"], dict(facts[StageFiles.name])
        directories = files.pop("directories", None)
        report = _report(job, facts, files)
        report |= {
            "options": facts[CarryRows.name]["options"], "pages": facts[Exchange.name]["pages"],
            "read_again": facts[Exchange.name]["read_again"], "kept_bytes": facts[Exchange.name]["old_bytes"],
            "permalink_rules": facts[Exchange.name].get("permalink_rules", ""),
            "versions_behind": facts[Exchange.name].get("versions_behind", []),
            "reported_tables": facts[StageTables.name]["reported"],
            "rewrite": rewrite_report(tables), "integrity": integrity_report(tables, directories),
        }  # fmt: skip
        result = _result(job, facts, report) | {
            "rows": sum(table["rows"] for table in tables),
            "files": files["added"] + files["changed"],
            "bytes": files["bytes"] + sum(table["bytes"] for table in tables),
        }
        return result, KeptSet(self._keep_for)

    def given_up(self, job: Job) -> CloneChange | None:
        """The target is what it was."""
        return None


class DryRestoreEnding:
    """What the end of a dry run means: nothing was written."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, Change | None]:
        """What would change."""
        report = _report(job, facts, facts[PlanFiles.name])
        return _result(job, facts, {"dry_run": True, **report}), None

    def given_up(self, job: Job) -> CloneChange | None:
        """Nothing was made."""
        return None


class LeavingEnding:
    """What the end of a rollback or a release means; the store notes it with the restore it is about."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, Change | None]:
        """Which restore it was, and what a rollback lost."""
        report: dict[str, Any] = {"action": job.request["action"], "restore_id": job.request["restore_id"]}
        if RollBack.name in facts:
            report["lost"] = facts[RollBack.name]["lost"]
        return {"target_url": job.request["target_url"], "report": report}, None

    def given_up(self, job: Job) -> CloneChange | None:
        """What was put aside is still kept."""
        return None


def _result(job: Job, facts: Mapping[str, Facts], report: Mapping[str, Any]) -> dict[str, Any]:
    home = facts[ExamineTarget.name]["target"]["home"]
    return {"target_url": home, "report": report, **({"clone_id": job.clone_id} if job.clone_id is not None else {})}


def _report(job: Job, facts: Mapping[str, Facts], files: Facts) -> dict[str, Any]:
    merged = facts[MergeTables.name]
    return {
        "tables": [table for table in merged["tables"] if table["how"] != "nothing" or table["kept"] or table["conflicts"]],
        "files": dict(files),
        "conflicts": merged["conflicts"],
        "conflict_count": merged["conflict_count"],
        "conflict_policy": job.request.get("conflict_policy", "keep_target"),
        "merged_by": "base" if merged["has_base"] else "replacement",
        "source": {name: facts[ExamineTarget.name]["source"][name] for name in ("home", "wp_version", "db_version")},
        "target": {name: facts[ExamineTarget.name]["target"][name] for name in ("home", "wp_version", "db_version")},
        "agent": facts[ReleaseTarget.name]["agent"],
    }


def _minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
