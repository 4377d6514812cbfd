"""Splits a SHOW CREATE TABLE of MySQL or MariaDB into tokens, or refuses.

Version comments (`/*!50100 … */`, `/*M!100301 … */`) are what they hold; other comments do not occur there and are refused, as is
everything a definition never has (`;`, `@`, `#`, `--`): whoever writes it is not SHOW CREATE TABLE.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""(?P<space>\s+)
    |(?P<open>/\*M?!\d*)
    |(?P<close>\*/)
    |(?P<name>`(?:[^`]|``)+`)
    |(?P<text>[xXbBnN]?'(?:[^'\\]|''|\\.)*')
    |(?P<double>"(?:[^"\\]|""|\\.)*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
    |(?P<mark><=>|<>|!=|<=|>=|:=|\|\||&&|<<|>>|->>|->|[(),=<>+*/%.!~^|&?:-])
    """,
    re.VERBOSE | re.DOTALL,
)


class UnknownDdl(ValueError):
    """A definition with something that is not on the list of what may be re-emitted; the message names it."""


@dataclass(frozen=True)
class Token:
    """One token: its kind (name, text, number, word, mark), its bytes, and whether white space came before it."""

    kind: str
    raw: bytes
    spaced: bool

    @property
    def word(self) -> str:
        """The word in capitals, or an empty string for other tokens."""
        return self.raw.decode("latin-1").upper() if self.kind == "word" else ""

    @property
    def name(self) -> bytes:
        """The identifier without its quotes; raises UnknownDdl for other tokens."""
        if self.kind != "name":
            raise UnknownDdl(f"an identifier was expected, not {self.shown}")
        return self.raw[1:-1].replace(b"``", b"`")

    @property
    def shown(self) -> str:
        """For messages."""
        return self.raw[:60].decode("utf-8", "backslashreplace")


def tokens(definition: bytes) -> list[Token]:
    """The tokens of a definition; raises UnknownDdl."""
    found: list[Token] = []
    at, spaced = 0, False
    while at < len(definition):
        match = _TOKEN.match(definition, at)
        if match is None:
            raise UnknownDdl(f"unexpected {definition[at : at + 20]!r}")
        at = match.end()
        kind = str(match.lastgroup)
        if kind in ("space", "open", "close"):
            spaced = True
            continue
        if match.group() == b"-" and definition[at : at + 1] == b"-":
            raise UnknownDdl("a comment")
        if kind == "double":
            raise UnknownDdl("a double-quoted string")
        found.append(Token(kind, match.group(), spaced))
        spaced = False
    return found


def text(parts: Sequence[Token]) -> bytes:
    """The tokens as they were written, white space as single spaces."""
    joined = b"".join((b" " if part.spaced else b"") + part.raw for part in parts)
    return joined.strip()


class Reader:
    """Walks over tokens."""

    def __init__(self, parts: Sequence[Token]) -> None:
        self._parts = parts
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether a token is left."""
        return self._at < len(self._parts)

    def peek(self, ahead: int = 0) -> Token:
        """The next token, or an empty mark at the end."""
        place = self._at + ahead
        return self._parts[place] if place < len(self._parts) else Token("mark", b"", False)

    def next(self) -> Token:
        """Take the next token; raises UnknownDdl at the end."""
        if not self.more:
            raise UnknownDdl("the definition ends too early")
        self._at += 1
        return self._parts[self._at - 1]

    def take(self, *words: str) -> bool:
        """Take these words if they come next."""
        if all(self.peek(i).word == word for i, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def mark(self, raw: bytes) -> bool:
        """Take this mark if it comes next."""
        if self.peek().kind == "mark" and self.peek().raw == raw:
            self._at += 1
            return True
        return False

    def group(self) -> list[Token]:
        """Take a parenthesis with all it holds; the tokens with their outer parentheses."""
        if self.peek().raw != b"(":
            raise UnknownDdl(f"a parenthesis was expected, not {self.peek().shown}")
        start, depth = self._at, 0
        while True:
            token = self.next()
            if token.kind == "mark":
                depth += {b"(": 1, b")": -1}.get(token.raw, 0)
            if depth == 0:
                return list(self._parts[start : self._at])


def separated(parts: Sequence[Token]) -> list[list[Token]]:
    """The comma-separated parts of a parenthesis, outer parentheses given and dropped."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in parts[1:-1]:
        if token.kind == "mark":
            depth += {b"(": 1, b")": -1}.get(token.raw, 0)
            if token.raw == b"," and depth == 0:
                found.append([])
                continue
        found[-1].append(token)
    return [part for part in found if part]
