"""The plan of a clone job's dry run: the preflight alone. Its result is what a clone would copy, leave out and need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.plans import Plan
from workers.source_visit import looking, reaching, releasing
from workers.sources import Sources
from workers.steps.preflight import Preflight, Room
from workers.steps.release_source import ReleaseSource
from wpclone.core.jobs.job import Facts, Job
from wpclone.core.jobs.states import JobKind
from wpclone.core.jobs.transitions import CloneChange
from wpclone.wordpress.constants import Withheld, judge

MOST_TABLES = 50
"""Tables the report lists, the largest first; it counts them all."""


def dry_run_plan(version: int, sources: Sources, room: Room) -> Plan:
    """The dry run beside the clone plan of `version`."""
    steps = (reaching(sources), looking(Preflight(sources, room, only_tells=True)), releasing(sources))
    return Plan(JobKind.CLONE, version, steps, DryRunEnding(), is_dry_run=True)


class DryRunEnding:
    """What the end of a dry run means: there never was a clone."""

    def completed(self, job: Job, facts: Mapping[str, Facts]) -> tuple[Facts, CloneChange | None]:
        """The report."""
        site = facts[Preflight.name]["report"]
        rows, table_bytes = (sum(table[name] for table in site["tables"]) for name in ("rows", "bytes"))
        result = {
            "rows": rows,
            "files": site["files"],
            "bytes": site["file_bytes"] + table_bytes,
            "report": _report(job, facts, table_bytes),
        }
        return result, None

    def given_up(self, job: Job) -> CloneChange | None:
        """Nothing was made."""
        return None


def _report(job: Job, facts: Mapping[str, Facts], table_bytes: int) -> dict[str, Any]:
    look = facts[Preflight.name]
    site = look["report"]
    largest = sorted(site["tables"], key=lambda table: -table["bytes"])[:MOST_TABLES]
    return {
        "dry_run": True,
        "refusals": look["refusals"],
        "room": look["room"],
        "file_bytes": site["file_bytes"],
        "table_bytes": table_bytes,
        "tables": [{name: table[name] for name in ("name", "rows", "bytes", "engine")} for table in largest],
        "tables_count": len(site["tables"]),
        "excluded": site["excluded"],
        "left_out_tables": site["left_out"],
        "left_out_files": site["left_out_files"],
        "left_out_files_count": site["left_out_files_count"],
        "withheld_constants": _withheld(site, frozenset(job.request.get("keep_constants") or ())),
        "code_in_wp_config": site["code_found"],
        "source": {name: site[name] for name in ("title", "home", "wp_version", "php_version", "db_version")},
        "agent": facts[ReleaseSource.name]["agent"],
    }


def _withheld(site: Mapping[str, Any], keep: frozenset[str]) -> dict[str, str]:
    """Constants a clone would not get, with the reason."""
    judged = {name: judge(name, value, keep=name in keep) for name, value in site["constants"].items()}
    named = {name: str(why) for name, why in judged.items() if why not in (None, Withheld.SET_BY_CLONE)}
    return named | {name: why for name, why in site["withheld"].items() if name not in keep}
