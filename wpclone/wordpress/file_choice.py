"""Whether an entry of a source's file index is copied: the one judgement for the preflight's sizes and for the copy."""

from __future__ import annotations

from collections.abc import Sequence

from wpclone.wordpress.agent.wire import Entry
from wpclone.wordpress.file_rules import file_left_out
from wpclone.wordpress.file_writer import checked_path
from wpclone.wordpress.roots import Root

_KINDS_LEFT_OUT = {
    "x": "a link to nothing",
    "c": "a link in a circle",
    "o": "neither file, directory nor link",
    "h": "a link to the source's configuration",
    "n": "another WordPress, with its own configuration",
    "u": "a directory the web server's user cannot read",
}


def why_not(entry: Entry, root: Root, exclude: Sequence[str]) -> str | None:
    """Why an entry is not copied, or None. Raises SiteError(HOSTILE_PATH) for a link that leads out."""
    if entry.kind == "s":
        return root.skipped().get(entry.path, "left out")
    if entry.kind == "l" and entry.target:
        checked_path(entry.target)
    return _KINDS_LEFT_OUT.get(entry.kind) or file_left_out(root.rule_path(entry.path), exclude)
