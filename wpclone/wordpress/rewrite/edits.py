"""An edit: the only way bytes change here. What no edit covers is copied, so it stays identical."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Edit(NamedTuple):
    """Replace `[start, end)` by `new`; `counts` is 1 for an address or directory, 0 for a length that follows from one."""

    start: int
    end: int
    new: bytes
    counts: int


def apart(edits: Iterable[Edit]) -> list[Edit]:
    """The edits in order; of overlapping ones the first, of those that start together the longest."""
    kept: list[Edit] = []
    end = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if edit.start >= end:
            kept.append(edit)
            end = edit.end
    return kept


def applied(raw: bytes, edits: Sequence[Edit]) -> bytes:
    """`raw` with its edits, which are in order and apart; `raw` itself when there are none."""
    if not edits:
        return raw
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts.append(raw[at : edit.start])
        parts.append(edit.new)
        at = edit.end
    parts.append(raw[at:])
    return b"".join(parts)
