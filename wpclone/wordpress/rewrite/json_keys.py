"""Keys of JSON objects that must stay, because their new form is that of a sibling: a program would read only one of the two."""

import json
import re
from collections.abc import Sequence

from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.formats import is_json

_TOKEN = re.compile(rb'(?P<text>"(?:[^"\\]|\\.)*")(?P<key>[ \t\r\n]*:)?|(?P<open>[{\[])|[}\]]', re.DOTALL)
_REST = re.compile(rb'(?:[^"\\]|\\.)*"(?P<key>[ \t\r\n]*:)?', re.DOTALL)


def colliding(raw: bytes, edits: Sequence[Edit]) -> frozenset[Edit]:
    """Those edits of a JSON document that are in such keys; none when `raw` is none. Linear, and cheap when no key changes.

    Only the document's own keys: what JSON inside its strings says is another program's.
    """
    if not _in_some_key(raw, edits) or not is_json(raw):
        return frozenset()
    owners: dict[tuple[int, str], list[tuple[str, list[Edit]]]] = {}
    stack, opened, place = [0], 0, 0
    for token in _TOKEN.finditer(raw):
        if token["open"]:
            opened += 1
            stack.append(opened)
        elif token["text"] is None:
            stack.pop()
        elif token["key"] is not None:
            lo, hi = token.span("text")
            while place < len(edits) and edits[place].start < lo:
                place += 1
            first = place
            while place < len(edits) and edits[place].start < hi:
                place += 1
            inside = list(edits[first:place])
            moved = [edit._replace(start=edit.start - lo, end=edit.end - lo) for edit in inside]
            name = _read(applied(raw[lo:hi], moved))
            owners.setdefault((stack[-1], name), []).append((_read(raw[lo:hi]), inside))
    groups = (same for same in owners.values() if len({old for old, _ in same}) > 1)
    return frozenset(edit for same in groups for _, inside in same for edit in inside)


def _in_some_key(raw: bytes, edits: Sequence[Edit]) -> bool:
    """Whether an edit is in a string that a colon follows; each string is looked through once."""
    until = 0
    for edit in edits:
        if edit.start < until:
            continue
        rest = _REST.match(raw, edit.end)
        if rest is None:
            return False
        if rest["key"] is not None:
            return True
        until = rest.end()
    return False


def _read(text: bytes) -> str:
    return str(json.loads(text.decode("utf-8", "surrogatepass")))
