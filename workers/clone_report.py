"""What a completed clone says about itself: what was left out or changed and why, what the rewriter did, and sums to compare by.

Long lists are cut, their lengths told. Counts are exact; a step of an older worker may lack some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.steps.copy_files import CopyFiles
from workers.steps.copy_tables import CopyTables
from workers.steps.guard import Guard
from workers.steps.preflight import Preflight
from workers.steps.release_source import ReleaseSource
from workers.steps.verify import Verify
from wpclone.core.jobs.job import Facts
from wpclone.wordpress.constants import Withheld

MOST_LISTED = 200
"""Entries of a list in the result."""

_OWN = Withheld.SET_BY_CLONE.value
"""Constants that every clone sets itself are no news."""


def clone_report(facts: Mapping[str, Facts]) -> dict[str, Any]:
    """The `result.report` of a completed clone, from its steps' facts."""
    site, files, tables = facts[Preflight.name]["report"], facts[CopyFiles.name], facts[CopyTables.name]
    report: dict[str, Any] = {
        "withheld_constants": {name: why for name, why in facts[Guard.name]["withheld_constants"].items() if why != _OWN},
        "code_in_wp_config": site["code_found"],
        "excluded": site.get("excluded", []),
        "left_out_tables": site["left_out"],
        "reported_tables": tables["reported"],
        "fuzzy_tables": tables.get("fuzzy", []),
        "tables_read_again": tables.get("read_again", []),
        "excluded_files": files["excluded"],
        "followed_links": files["followed"],
        "changed_files": files["changed"],
        "source": {name: site[name] for name in ("wp_version", "php_version", "db_version")},
        "agent": facts[ReleaseSource.name]["agent"],
        "title": facts[Verify.name]["title"],
        "rewrite": rewrite_report(tables["tables"]),
        "integrity": integrity_report(tables["tables"], files.get("directories")),
    }
    return _cut(report)


def rewrite_report(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The proof: of all values that may hold addresses how many were seen and changed, and what was left, with places."""
    left = _sums(table.get("left", {}) for table in tables)
    report = {
        "seen": sum(table.get("seen", 0) for table in tables),
        "changed": _sums(table.get("changed", {}) for table in tables),
        "rewritten": sum(table["rewritten"] for table in tables),
        "left": left,
        "places": [{"table": table["name"], **place} for table in tables for place in table.get("places", ())],
        "places_count": sum(left.values()),
    }
    return _cut(report)


def integrity_report(
    tables: Sequence[Mapping[str, Any]], directories: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Counts and sums to compare by; of directories where they are known."""
    names = ("name", "rows", "bytes", "read_checksum", "checksum")
    report: dict[str, Any] = {"tables": [{name: table[name] for name in names if name in table} for table in tables]}
    if directories is not None:
        report["directories"] = list(directories)
    return _cut(report)


def _sums(counts: Any) -> dict[str, int]:
    added: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            added[name] = added.get(name, 0) + count
    return dict(sorted(added.items()))


def _cut(report: dict[str, Any]) -> dict[str, Any]:
    """The report with its lists cut; the length of each that was is beside it."""
    for name, value in list(report.items()):
        if isinstance(value, list | tuple) and len(value) > MOST_LISTED:
            report[name] = list(value[:MOST_LISTED])
            report[f"{name}_count"] = report.get(f"{name}_count", len(value))
    return report
