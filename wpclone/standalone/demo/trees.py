"""Every file of the source, found again in the clone by its hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone.demo.checks import Findings

NOT_COPIED = {
    "wp-config.php": "generated for the clone: its database, keys and address",
}
"""Files that are meant to differ, and why."""


@dataclass(frozen=True)
class Leaf:
    """One file or link: the hash of what reading it gives, its size, and whether it is a link."""

    hash: str
    size: int
    is_link: bool


def leaves_of(root: Path) -> dict[str, Leaf]:
    """All files and links below `root`, by their path."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            found[str(path.relative_to(root))] = _leaf(path)
    return found


def _leaf(path: Path) -> Leaf:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return Leaf(digest.hexdigest(), size, path.is_symlink())


def check_files(findings: Findings, there: dict[str, Leaf], here: dict[str, Leaf], left_out: dict[str, str]) -> None:
    """Compare the source's files with the clone's. `left_out` are paths the job's own report says it left out, with reasons."""
    reasons = left_out | NOT_COPIED
    lost = [path for path in there.keys() - here.keys() if path not in reasons]
    added = [path for path in here.keys() - there.keys() if path not in reasons]
    changed = [path for path in there.keys() & here.keys() if there[path] != here[path] and path not in reasons]
    for path in sorted((there.keys() | here.keys()) & reasons.keys()):
        if there.get(path) != here.get(path):
            findings.explain(path, reasons[path])
    findings.check("no file is missing", not lost, f"{sorted(lost)[:5]}")
    findings.check("no file was added", not added, f"{sorted(added)[:5]}")
    size = sum(leaf.size for leaf in there.values()) / 1e6
    findings.check(f"the hashes of {len(there)} files ({size:.0f} MB) are equal", not changed, f"{sorted(changed)[:5]}")


def check_untouched(findings: Findings, before: dict[str, Leaf], after: dict[str, Leaf]) -> None:
    """Compare the source with itself."""
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    findings.check("the source's files are the same before and after", not changed, f"{changed[:5]}")
