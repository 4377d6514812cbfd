"""What came of a restore, for people: what changed or would change, what is in conflict, how long it can be taken back."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from google.protobuf.json_format import MessageToDict

from wpclone.cli import table
from wpclone.v2 import job_pb2

_CONFLICTS_SHOWN = 5


def restore_pairs(result: job_pb2.JobResult) -> list[tuple[str, str]]:
    """The lines about a restore's, rollback's or release's result."""
    report: dict[str, Any] = MessageToDict(result.report)
    until = table.moment(result.rollback_until.ToDatetime(tzinfo=UTC)) if result.HasField("rollback_until") else ""
    return [
        ("target", result.target_url),
        ("from", result.clone_id or str(report.get("source", {}).get("home", ""))),
        *(("would change" if report.get("dry_run") else "changed", line) for line in _changes(report)),
        *(("conflict", line) for line in _conflicts(report)),
        ("rollback until", until),
        ("lost", ", ".join(report.get("lost", []))),
    ]


def _changes(report: dict[str, Any]) -> list[str]:
    """One line for each table that changes, and one for the files."""
    lines = []
    for one in report.get("tables", []):
        if one["how"] != "nothing":
            counts = ", ".join(f"{one[name]:.0f} {name}" for name in ("inserted", "updated", "deleted", "kept") if one[name])
            lines.append(f"{one['name']}: {counts or one['note']}")
    files = report.get("files")
    if files:
        counts = ", ".join(f"{files[name]:.0f} {name}" for name in ("added", "changed", "removed"))
        lines.append(f"files: {counts}, {table.amount(int(files['bytes']))}")
    return lines


def _conflicts(report: dict[str, Any]) -> list[str]:
    """The first conflicts, and how many there are."""
    count = int(report.get("conflict_count", 0))
    shown = [f"{one['table']} {one['key']}: {one['conflict']}, {one['taken']}'s" for one in report.get("conflicts", [])]
    more = count - len(shown[:_CONFLICTS_SHOWN])
    return shown[:_CONFLICTS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
