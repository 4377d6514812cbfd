"""Reading PHP's serialization format as bytes: where a value ends, and which of its strings matter. Nothing is ever built.

Grammar: `ext/standard/var_unserializer.re` of PHP 8 (`a O s S i d b N C E r R`). Strings are skipped by their length, so the time
is linear in the number of tokens, and nesting of arrays and objects costs no stack.
"""

import re
from dataclasses import dataclass

from wpclone.wordpress.rewrite.edits import Edit

_LENGTH = rb"([0-9]{1,18})"
_CLASS = rb"([A-Za-z0-9_\\\x80-\xff]*)"
_FLOAT = rb"d:(?:NAN|-?INF|[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?);"
_TOKEN = re.compile(
    rb"s:" + _LENGTH + rb':"'  # 1
    rb"|(i:[+-]?[0-9]+;)"  # 2
    rb"|(N;|b:[01];|" + _FLOAT + rb"|[rR]:[1-9][0-9]*;)"  # 3
    rb"|a:" + _LENGTH + rb":\{"  # 4
    rb"|O:" + _LENGTH + rb':"' + _CLASS + rb'":' + _LENGTH + rb":\{"  # 5, 6, 7
    rb"|E:" + _LENGTH + rb':"(' + _CLASS + rb':[A-Za-z0-9_\x80-\xff]+)";()'  # 8, 9, 10, 11
    rb"|C:" + _LENGTH + rb':"' + _CLASS + rb'":' + _LENGTH + rb":\{"  # 12, 13, 14
    rb"|S:" + _LENGTH + rb':"'  # 15
)
_STRING, _INT, _SCALAR, _ARRAY, _OBJECT, _ENUM, _CUSTOM, _ESCAPED = 1, 2, 3, 4, 7, 11, 14, 15
"""A token's kind is the last group that took part."""
_TEXTS = {_STRING: "s", _CUSTOM: "C", _ESCAPED: "S"}
_NEXT_STRING = re.compile(rb'";(?:(i:[+-]?[0-9]+;)|(N;|b:[01];))?s:' + _LENGTH + rb':"')
"""From one string's end to the next string, over one small token at most: the usual way, in one step."""
_HEX_ESCAPE = re.compile(rb"\\[0-9A-Fa-f]{2}")
_NEVER = 1 << 62

BEGINS = re.compile(rb'[ \t\n\r\0\x0b]*(?=(?:[sS]:[0-9]+:"|a:[0-9]+:\{(?:[isS]:|\}|\Z)|[OC]:[0-9]+:"))')
"""How a value begins that can hold text, after the white space WordPress trims."""
_ENDS = re.compile(rb'";[ \t\n\r\0\x0b]*\Z')


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch with a length before it: `s` and `S` strings, `C` payloads. It is `[lo, hi)`, its length is at `digits`.

    `container` numbers the array or object it is a key of, -1 for values.
    """

    kind: str
    digits: tuple[int, int]
    lo: int
    hi: int
    container: int = -1


@dataclass(frozen=True, slots=True)
class Value:
    """A well-formed value: where it ends, and those of its texts, in order, that were asked for."""

    end: int
    texts: list[Text]


def read(
    raw: bytes, at: int, limit: int, edits: list[Edit], first: int, *, keys_of: frozenset[int] = frozenset()
) -> Value | None:
    """The value at `at`, which may not reach beyond `limit`; None when it is not well-formed.

    Its texts are those with an edit of `edits[first:]` inside, and all keys of the containers numbered `keys_of`.
    """
    return _Reading(raw, limit, edits, first, keys_of).value(at)


class _Reading:
    """One value's walk. `need` is how many items the container around still needs; keys stand where an even number is needed."""

    def __init__(self, raw: bytes, limit: int, edits: list[Edit], first: int, keys_of: frozenset[int]) -> None:
        self._raw = raw
        self._limit = limit
        self._edits = edits
        self._first = first
        self._keys_of = keys_of
        self._next_edit = edits[first].start if first < len(edits) else _NEVER
        self._texts: list[Text] = []
        self._stack: list[tuple[int, int]] = []
        self._need, self._number, self._containers = 1, -1, 0

    def value(self, at: int) -> Value | None:
        """Read on from `at` until the outermost value is complete."""
        raw, limit = self._raw, self._limit
        while True:
            while self._need == 0:
                if not self._stack:
                    return Value(at, self._texts)
                if at >= limit or raw[at] != 0x7D:  # }
                    return None
                at += 1
                self._need, self._number = self._stack.pop()
            found = _TOKEN.match(raw, at, limit)
            if found is None:
                return None
            kind = found.lastindex
            if kind == _STRING:
                at = self._strings(found)
            elif kind == _INT or (kind == _SCALAR and not self._at_key()):
                self._need -= 1
                at = found.end()
            else:
                at = self._other(found, kind or 0)
            if at < 0:
                return None

    def _at_key(self) -> bool:
        return self._number >= 0 and self._need % 2 == 0

    def _strings(self, found: re.Match[bytes]) -> int:
        """Read a string, and on while strings follow each other. Returns where the last one ends, -1 when it does not."""
        raw, limit, need, watch = self._raw, self._limit, self._need, bool(self._keys_of)
        step: re.Match[bytes] | None = found
        group = 1
        while step:
            lo = step.end()
            hi = lo + int(step[group])
            if watch or self._next_edit < hi:
                self._note(Text("s", step.span(group), lo, hi), is_key=self._number >= 0 and need % 2 == 0)
            need -= 1
            step = _NEXT_STRING.match(raw, hi, limit) if need else None
            if step and (step[1] or step[2]):
                if need < 2 or (step[2] and need % 2 == 0):
                    break
                need -= 1
            group = 3
        self._need = need
        return hi + 2 if hi + 2 <= limit and raw.startswith(b'";', hi) else -1

    def _note(self, text: Text, *, is_key: bool) -> None:
        """Keep a text when it was asked for."""
        while self._next_edit < text.lo:
            self._first += 1
            self._next_edit = self._edits[self._first].start if self._first < len(self._edits) else _NEVER
        if is_key and (self._next_edit < text.hi or self._number in self._keys_of):
            self._texts.append(Text(text.kind, text.digits, text.lo, text.hi, self._number))
        elif self._next_edit < text.hi:
            self._texts.append(text)

    def _other(self, found: re.Match[bytes], kind: int) -> int:
        """Read what is no plain string or number: a container's beginning, an enum, a text of another kind."""
        is_key = self._at_key()
        self._need -= 1
        if kind == _ESCAPED or (kind == _CUSTOM and not is_key):
            text = _text(self._raw, found, kind, self._limit)
            if text is None:
                return -1
            self._note(text, is_key=is_key)
            return text.hi + (1 if kind == _CUSTOM else 2)
        if is_key or kind == _SCALAR or (kind == _OBJECT and int(found[5]) != len(found[6])):
            return -1
        if kind == _ENUM:
            return found.end() if int(found[8]) == len(found[9]) else -1
        self._stack.append((self._need, self._number))
        self._number = self._containers
        self._containers += 1
        self._need = 2 * int(found[kind])
        return found.end()


def _text(raw: bytes, found: re.Match[bytes], kind: int, limit: int) -> Text | None:
    lo, length = found.end(), int(found[kind])
    hi = escaped_end(raw, lo, length, limit) if kind == _ESCAPED else lo + length
    if kind == _CUSTOM:
        closed = int(found[12]) == len(found[13]) and hi < limit and raw[hi] == 0x7D  # }
    else:
        closed = hi + 2 <= limit and raw.startswith(b'";', hi)
    return Text(_TEXTS[kind], found.span(kind), lo, hi) if closed else None


def text_at(raw: bytes, at: int, limit: int) -> Text | None:
    """The `s`, `S` or `C` stretch whose header is at `at`, if it is well-formed by itself."""
    found = _TOKEN.match(raw, at, limit)
    if found is None or found.lastindex not in _TEXTS:
        return None
    return _text(raw, found, found.lastindex, limit)


def escaped_end(raw: bytes, lo: int, length: int, limit: int) -> int:
    r"""Where an `S:` string of `length` bytes ends, a `\hh` being one byte; beyond `limit` when it is malformed."""
    at, left = lo, length
    while left > 0 and at < limit:
        backslash = raw.find(b"\\", at, at + left)
        if backslash < 0:
            return at + left
        if not _HEX_ESCAPE.match(raw, backslash):
            return limit + 1
        left -= backslash - at + 1
        at = backslash + 3
    return at


def claims_to_be(raw: bytes, at: int, limit: int) -> bool:
    """Whether text that begins like a value was meant as one: it begins a container, or ends as `is_serialized()` wants it."""
    if raw[at : at + 1] in (b"a", b"O", b"C"):
        return True
    return _ENDS.search(raw, max(at, limit - 16), limit) is not None
