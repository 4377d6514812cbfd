"""Text and JSON lines: every line is a value of its own, and so are the lines a serialized string runs over."""

import re

from wpclone.wordpress.rewrite.report import Tally
from wpclone.wordpress.rewrite.rewriter import Rewriter

UNIT_LIMIT = 64 << 20
"""The most bytes (64 MB) held for one value; a longer line is cut where no address can be."""

_STRETCH = re.compile(rb':(?<=[sSC]:)([0-9]{1,10}):(?:"|"[^"\n]{0,255}":([0-9]{1,10}):\{)')
"""A length-prefixed string's header from its colon on, or that of a `C` payload."""
_CUT = re.compile(rb"[ ,>\t](?=[^ ,>\t]*\Z)")


def settle_lines(data: bytes, rewriter: Rewriter, tally: Tally, *, ended: bool) -> tuple[list[bytes], int]:
    """The rewritten beginning of `data`, which begins at a line's beginning, and how much of `data` that is.

    `ended`: nothing follows `data`. Adds to `tally`.
    """
    whole = len(data) if ended else _last_unit_end(data)
    if whole == 0:
        return [], 0
    if not rewriter.could_match(data[:whole]):
        return [data[:whole]], whole
    parts: list[bytes] = []
    at = 0
    while at < whole:
        end = _unit_end(data, at, whole)
        unit = data[at:end]
        value = unit.rstrip(b"\r\n")
        result = rewriter.value(value)
        tally.count(result)
        parts.append(unit if result.value is value else result.value + unit[len(value) :])
        at = end
    return parts, whole


def _unit_end(data: bytes, at: int, limit: int) -> int:
    """Where the lines that belong together end: a line, and those its serialized strings reach into."""
    end = data.find(b"\n", at, limit) + 1 or limit
    header = _STRETCH.search(data, at, end)
    while header:
        reach = header.end() + int(header[2] or header[1])
        if end < reach <= limit:
            end = data.find(b"\n", reach, limit) + 1 or limit
        header = _STRETCH.search(data, header.end(), end)
    return end


def _last_unit_end(data: bytes) -> int:
    """How much of `data` is complete whatever follows; 0 when more is needed to know."""
    cut = data.rfind(b"\n") + 1
    for header in _STRETCH.finditer(data):
        if header.start() >= cut:
            break
        reach = header.end() + int(header[2] or header[1])
        if reach > cut and reach - header.start() < UNIT_LIMIT:
            cut = data.rfind(b"\n", 0, header.start()) + 1
            break
    if cut == 0 and len(data) >= UNIT_LIMIT:
        found = _CUT.search(data, len(data) - 4096)
        return found.end() if found else len(data)
    return cut
