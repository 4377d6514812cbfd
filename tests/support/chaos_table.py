"""The table of docs/reliability.md: what each fault did, written by the tests that caused it and by nobody else."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.history import Findings, part

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = (
    "| fault | n | lost | duplicated | other violations | 3/n bound | stale refused | recovery p50 | recovery p99 |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Row:
    """One fault's figures."""

    fault: str
    text: str


_ROWS: list[Row] = []


def note(fault: str, findings: Findings, *, n: int | None = None) -> None:
    """Keep what a test found, for the table; then the test fails unless it is clean."""
    count = findings.jobs if n is None else n
    recovery = [f"{part(findings.recovery, share):.1f} s" for share in (0.5, 0.99)] if findings.recovery else ["", ""]
    bound = f"{300 / count:.2g} %" if findings.is_clean else ""
    cells = [
        str(count), str(len(findings.lost)), str(len(findings.duplicated)), str(len(findings.violations)), bound,
        str(findings.refused), *recovery,
    ]  # fmt: skip
    _ROWS.append(Row(fault, f"| {fault} | {' | '.join(cells)} |"))
    assert not findings.lost, findings.lost
    assert not findings.duplicated, findings.duplicated
    assert not findings.violations, findings.violations[:20]


def write() -> None:
    """Put the rows of this session into the page that CHAOS_TABLE names; other rows stay. Without it, nothing."""
    page = os.environ.get("CHAOS_TABLE")
    if not page or not _ROWS:
        return
    text = Path(page).read_text()
    kept = {}
    measured = re.search(f"{BEGIN}(.*?){END}", text, re.DOTALL)
    assert measured is not None, f"{page} has no place for the table"
    for line in measured[1].splitlines():
        if line.startswith("| ") and not line.startswith("| fault"):
            kept[line.split("|")[1].strip()] = line
    kept |= {row.fault: row.text for row in _ROWS}
    ordered = sorted(kept.items(), key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])[:1]] or [99])
    table = "\n".join([HEAD, *(line for _, line in ordered)])
    Path(page).write_text(text.replace(measured[0], f"{BEGIN}\n{table}\n{END}"))
