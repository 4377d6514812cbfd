"""Escapings text is wrapped in, undone with a map back: a change in the plain text becomes a change in the escaped one."""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from operator import add
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
    """One way to escape text: what an escape looks like, what it means, and how to write new text like the old it replaces.

    The pattern's one group is the whole escape.
    """

    pattern: re.Pattern[bytes]
    meaning: Callable[[bytes], bytes]
    spell: Callable[[bytes, bytes], bytes]

    def undo(self, raw: bytes, lo: int, hi: int) -> Plain:
        """The plain text of `[lo, hi)`, which begins between two escapes. Linear in its size."""
        pieces = self.pattern.split(raw[lo:hi])
        escapes, between = pieces[1::2], pieces[0::2]
        known: dict[bytes, bytes] = {escape: self.meaning(escape) for escape in set(escapes)}
        pieces[1::2] = meanings = [known[escape] for escape in escapes]
        lengths = [len(piece) for piece in between]
        plain_marks = accumulate(map(add, lengths, map(len, meanings)), initial=0)
        raw_marks = accumulate(map(add, lengths, map(len, escapes)), initial=lo)
        return Plain(b"".join(pieces), list(plain_marks), list(raw_marks))

    def like(self, old: bytes, escaped: bytes) -> bytes:
        """`escaped` with its slashes written as the first escaped slash in `old`, if there is one."""
        for escape in self.pattern.findall(old):
            if self.meaning(escape) == b"/":
                return escaped.replace(b"/", escape)
        return escaped


_SINGLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"0": b"\0", b"Z": b"\x1a"}


def _backslash_meaning(escape: bytes) -> bytes:
    if escape[1] != 0x75:  # u
        return _SINGLE.get(escape[1:], escape[1:])
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _backslash_spell(new: bytes, old: bytes) -> bytes:
    return BACKSLASH.like(old, new.replace(b"\\", b"\\\\").replace(b'"', b'\\"'))


_ENTITIES = {b"amp": b"&", b"quot": b'"', b"lt": b"<", b"gt": b">", b"apos": b"'", b"sol": b"/", b"colon": b":"}


def _entity_meaning(escape: bytes) -> bytes:
    name = escape[1:-1]
    if not name.startswith(b"#"):
        return _ENTITIES[name]
    code = int(name[2:], 16) if name[1:2] in b"xX" else int(name[1:])
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else escape


def _entity_spell(new: bytes, old: bytes) -> bytes:
    for plain, entity in ((b"&", b"&amp;"), (b'"', b"&quot;"), (b"'", b"&#039;"), (b"<", b"&lt;"), (b">", b"&gt;")):
        new = new.replace(plain, entity)
    return ENTITY.like(old, new)


_LOWER_HEX = re.compile(rb"%(?:[0-9][a-f]|[a-f][0-9a-f])")


def _percent_spell(new: bytes, old: bytes) -> bytes:
    escaped = quote_from_bytes(new, safe="").encode()
    return re.sub(rb"%..", lambda escape: escape[0].lower(), escaped) if _LOWER_HEX.search(old) else escaped


def _hex_spell(new: bytes, old: bytes) -> bytes:
    return PHP_HEX.like(old, new.replace(b"\\", b"\\5c"))


def _hex_meaning(escape: bytes) -> bytes:
    return bytes.fromhex(escape[1:].decode())


BACKSLASH = Escaping(
    re.compile(rb"(\\(?:[\"\\/bfnrt0Z']|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}))"),
    _backslash_meaning,
    _backslash_spell,
)
"""JSON strings, and what SQL and PHP write alike. A backslash before anything else is itself."""

ENTITY = Escaping(
    re.compile(rb"(&(?:amp|quot|lt|gt|apos|sol|colon|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});)"), _entity_meaning, _entity_spell
)
"""HTML attributes and text as WordPress escapes them: the entities of `htmlspecialchars()`, and numbers."""

PERCENT = Escaping(re.compile(rb"(%[0-9A-Fa-f]{2})"), _hex_meaning, _percent_spell)
"""URL encoding."""

PHP_HEX = Escaping(re.compile(rb"(\\[0-9A-Fa-f]{2})"), _hex_meaning, _hex_spell)
r"""The `\hh` of PHP's `S:` strings."""
