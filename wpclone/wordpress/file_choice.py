"""Whether an entry of a source's file index is copied: the one judgement for the preflight's sizes and for the copy."""

from __future__ import annotations

from collections.abc import Sequence

from wpclone.wordpress.agent.wire import Entry
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.file_rules import file_left_out, shown
from wpclone.wordpress.file_writer import checked_path
from wpclone.wordpress.roots import Root

MOST_NESTED = 200
"""Directories in one another below a docroot. The local runtime hands over no deeper ones; a site that has them has a program
that nests them without end."""

_KINDS_LEFT_OUT = {
    "x": "a link to nothing",
    "c": "a link in a circle",
    "o": "neither file, directory nor link",
    "h": "a link to the source's configuration",
    "n": "another WordPress, with its own configuration",
    "u": "a directory the web server's user cannot read",
}


def why_not(entry: Entry, root: Root, exclude: Sequence[str]) -> str | None:
    """Why an entry is not copied, or None.

    Raises SiteError: HOSTILE_PATH for a link that leads out, NESTED_TOO_DEEP for a directory to be copied that is.
    """
    if entry.kind == "s":
        return root.skipped().get(entry.path, "left out")
    if entry.kind == "l" and entry.target:
        checked_path(entry.target)
    reason = _KINDS_LEFT_OUT.get(entry.kind) or file_left_out(root.rule_path(entry.path), exclude)
    if reason is None and entry.kind in "dD" and root.local(entry.path).count(b"/") >= MOST_NESTED:
        raise SiteError(Reason.NESTED_TOO_DEEP, path=shown(root.local(entry.path)[:200]))
    return reason
