"""SQL dumps: string literals unescaped, rewritten, escaped again; all other bytes pass as they are.

Knows what mysqldump, mariadb-dump, mydumper and phpMyAdmin write: `'…'` and `"…"` with backslash escapes and doubled quotes,
backquoted names, the three kinds of comments, and `/*!…*/`, which is code. A dump made under `NO_BACKSLASH_ESCAPES` is not known.
"""

import re

from wpclone.wordpress.rewrite.edits import Edit, applied
from wpclone.wordpress.rewrite.escapes import Escaping
from wpclone.wordpress.rewrite.report import Tally
from wpclone.wordpress.rewrite.rewriter import Rewriter

_BEGINNING = re.compile(rb"(?i)\A(?:\xef\xbb\xbf)?\s*(?:--|/\*|#|(?:INSERT|REPLACE|CREATE|DROP|SET|USE|LOCK|START|BEGIN)\s)")
_STATEMENT = re.compile(
    rb"(?im)^(?:/\*!?M?!?[0-9]* ?)?(?:(?:INSERT|REPLACE)(?: IGNORE)? INTO|(?:CREATE|DROP) (?:TABLE|DATABASE)|SET |LOCK TABLES)"
)
_TOKEN = re.compile(
    rb"""'[^'\\]*'(?!')|"[^"\\]*"(?!")|`[^`]*`|--(?:[ \t\r][^\n]*)?\n|\#[^\n]*\n|/\*(?![!M])(?s:.*?)\*/"""
    rb"""|(?P<open>['"`\#]|--(?=[ \t\r])|/\*(?![!M]))"""
)
"""What is not plain code, complete; or what begins it, when its end is farther away or hidden by escapes."""
_HELD = 3
"""Bytes kept back at the end of a part: they may begin a comment, or double the quote before them."""
_BACKSLASH = 0x5C

_MEANINGS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"0": b"\0", b"Z": b"\x1a", b"%": b"\\%", b"_": b"\\_"}


def _meaning(escape: bytes) -> bytes:
    return _MEANINGS.get(escape[1:], escape[1:])


def _spell(new: bytes, _old: bytes) -> bytes:
    return new.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b'"', b'\\"')


_LITERALS = {
    b"'": Escaping(re.compile(rb"(\\(?s:.)|'')"), _meaning, _spell),
    b'"': Escaping(re.compile(rb'(\\(?s:.)|"")'), _meaning, _spell),
}


def is_dump(head: bytes) -> bool:
    """Whether a stream that begins with `head` (64 kB or all of it) is an SQL dump."""
    return _BEGINNING.match(head) is not None and _STATEMENT.search(head) is not None


def settle_dump(data: bytes, rewriter: Rewriter, tally: Tally, *, ended: bool) -> tuple[list[bytes], int]:
    """The rewritten beginning of `data`, which begins outside a literal, and how much of `data` that is; the rest needs more.

    `ended`: nothing follows `data`. Adds to `tally`.
    """
    limit = len(data) if ended else max(0, len(data) - _HELD)
    hit = rewriter.could_match(data)
    parts: list[bytes] = []
    at = copied = 0
    while at < limit:
        token = _TOKEN.search(data, at)
        if token is None or token.start() >= limit:
            at = limit
            break
        start, end = token.span()
        if token.lastgroup:
            end = _literal_end(data, start)
            if end < 0 and ended:  # cut short: the rest passes as it is
                at = limit
                break
        if end < 0 or end > limit:
            at = start
            break
        if hit and data[start : start + 1] in _LITERALS:
            changed = _literal(data, start, end, rewriter, tally)
            if changed is not None:
                parts += (data[copied:start], changed)
                copied = end
        at = end
    parts.append(data[copied:at])
    return parts, at


def _literal_end(data: bytes, start: int) -> int:
    """Where the literal that begins at `start` ends, -1 when that is not in `data`; comments and names cut short: -1."""
    quote = data[start : start + 1]
    if quote not in _LITERALS:
        return -1
    at = start + 1
    while True:
        at = data.find(quote, at)
        if at < 0:
            return -1
        before = at
        while data[before - 1] == _BACKSLASH and before - 1 > start:
            before -= 1
        if (at - before) % 2 == 1:
            at += 1
        elif data[at + 1 : at + 2] == quote:
            at += 2
        else:
            return at + 1


def _literal(data: bytes, start: int, end: int, rewriter: Rewriter, tally: Tally) -> bytes | None:
    """The literal rewritten, None when nothing in it changes."""
    raw = data[start:end]
    if not rewriter.could_match(raw):
        return None
    escaping = _LITERALS[raw[:1]]
    plain = escaping.undo(raw, 1, len(raw) - 1)
    inner, left = rewriter.changes(plain.text)
    tally.add(inner, left)
    edits: list[Edit] = []
    for edit in inner:
        lo, hi = plain.raw_offset(edit.start), plain.raw_offset(edit.end)
        edits.append(Edit(lo, hi, escaping.spell(edit.new, raw[lo:hi]), edit.counts))
    return applied(raw, edits) if edits else None
