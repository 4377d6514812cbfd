"""Escapings text is wrapped in, undone with a map back: a change in the plain text becomes a change in the escaped one."""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_from_bytes


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain text of a part of a buffer. Its marks, in step, are where each escape ended: in it, and in the buffer."""

    text: bytes
    plain_marks: list[int]
    raw_marks: list[int]

    def raw_offset(self, offset: int) -> int:
        """Where in the buffer the plain text's `offset` comes from."""
        mark = bisect_right(self.plain_marks, offset) - 1
        return self.raw_marks[mark] + offset - self.plain_marks[mark]


@dataclass(frozen=True, slots=True)
class Escaping:
    """One way to escape text: what an escape looks like, what it means, and how to write new text like the old it replaces."""

    pattern: re.Pattern[bytes]
    meaning: Callable[[re.Match[bytes]], bytes]
    spell: Callable[[bytes, bytes], bytes]
    usual: Mapping[bytes, bytes]

    def undo(self, raw: bytes, lo: int, hi: int) -> Plain:
        """The plain text of `[lo, hi)`, which begins between two escapes. Linear in its size."""
        parts: list[bytes] = []
        plain_marks, raw_marks = [0], [lo]
        plain_at, raw_at = 0, lo
        meanings = self.usual
        for escape in self.pattern.finditer(raw, lo, hi):
            start, end = escape.span()
            meaning = meanings.get(raw[start:end]) or self.meaning(escape)
            parts.append(raw[raw_at:start])
            parts.append(meaning)
            plain_at += start - raw_at + len(meaning)
            raw_at = end
            plain_marks.append(plain_at)
            raw_marks.append(end)
        parts.append(raw[raw_at:hi])
        return Plain(b"".join(parts), plain_marks, raw_marks)


_SINGLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"0": b"\0", b"Z": b"\x1a"}


def _backslash_meaning(escape: re.Match[bytes]) -> bytes:
    high, low, unit, single = escape.groups()
    if single is not None:
        return _SINGLE.get(single, single)
    if unit is not None:
        return chr(int(unit, 16)).encode("utf-8", "surrogatepass")
    return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode()


def _backslash_spell(new: bytes, old: bytes) -> bytes:
    escaped = new.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    for escape in BACKSLASH.pattern.finditer(old):
        if _backslash_meaning(escape) == b"/":
            return escaped.replace(b"/", escape[0])
    return escaped


_ENTITIES = {b"amp": b"&", b"quot": b'"', b"lt": b"<", b"gt": b">", b"apos": b"'", b"sol": b"/", b"colon": b":"}


def _entity_meaning(escape: re.Match[bytes]) -> bytes:
    name, decimal, hexadecimal = escape.groups()
    if name is not None:
        return _ENTITIES[name]
    code = int(decimal) if decimal is not None else int(hexadecimal, 16)
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else escape[0]


def _entity_spell(new: bytes, old: bytes) -> bytes:
    escaped = new
    for plain, entity in ((b"&", b"&amp;"), (b'"', b"&quot;"), (b"'", b"&#039;"), (b"<", b"&lt;"), (b">", b"&gt;")):
        escaped = escaped.replace(plain, entity)
    for escape in ENTITY.pattern.finditer(old):
        if _entity_meaning(escape) == b"/":
            return escaped.replace(b"/", escape[0])
    return escaped


_LOWER_HEX = re.compile(rb"%(?:[0-9][a-f]|[a-f][0-9a-f])")


def _percent_spell(new: bytes, old: bytes) -> bytes:
    escaped = quote_from_bytes(new, safe="").encode()
    return re.sub(rb"%..", lambda escape: escape[0].lower(), escaped) if _LOWER_HEX.search(old) else escaped


def _hex_spell(new: bytes, old: bytes) -> bytes:
    escaped = new.replace(b"\\", b"\\5c")
    for escape in (b"\\2f", b"\\2F"):
        if escape in old:
            return escaped.replace(b"/", escape)
    return escaped


BACKSLASH = Escaping(
    re.compile(rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\"\\/bfnrt0Z']))"),
    _backslash_meaning,
    _backslash_spell,
    {b'\\"': b'"', b"\\/": b"/", b"\\\\": b"\\", b"\\n": b"\n", b"\\u0022": b'"'},
)
"""JSON strings, and what SQL and PHP write alike. A backslash before anything else is itself."""

ENTITY = Escaping(
    re.compile(rb"&(?:(amp|quot|lt|gt|apos|sol|colon)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));"),
    _entity_meaning,
    _entity_spell,
    {b"&quot;": b'"', b"&amp;": b"&"},
)
"""HTML attributes and text as WordPress escapes them: the entities of `htmlspecialchars()`, and numbers."""

PERCENT = Escaping(re.compile(rb"%([0-9A-Fa-f]{2})"), lambda escape: bytes.fromhex(escape[1].decode()), _percent_spell, {})
"""URL encoding."""

PHP_HEX = Escaping(re.compile(rb"\\([0-9A-Fa-f]{2})"), lambda escape: bytes.fromhex(escape[1].decode()), _hex_spell, {})
r"""The `\hh` of PHP's `S:` strings."""
