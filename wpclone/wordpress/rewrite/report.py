"""What a rewrite says about itself: the new bytes, how much changed, and what was left and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from wpclone.wordpress.rewrite.edits import Edit
from wpclone.wordpress.rewrite.formats import Format

LEFT_PER_VALUE = 32
"""At most so many remarks on one value; a post that names its host a thousand times needs no thousand remarks."""


class Reason(StrEnum):
    """Why bytes that name the source were left as they are."""

    BASE64 = "BASE64"
    """The source's host inside base64 text (page builders' raw blocks): changing it needs to know what made it."""

    BROKEN_SERIALIZED = "BROKEN_SERIALIZED"
    """A PHP-serialized value whose structure or lengths were already wrong: PHP cannot read it before or after."""

    CUSTOM_SERIALIZED = "CUSTOM_SERIALIZED"
    """The payload of a `C:` value: only the class that wrote it knows its format."""

    KEY_COLLISION = "KEY_COLLISION"
    """A key of an array or of a JSON object that would become equal to a sibling's, which would lose an element."""

    TOO_DEEP = "TOO_DEEP"
    """Nested deeper than `engine.MAX_DEPTH` strings or `engine.MAX_LAYERS` escapings."""

    BARE_HOST = "BARE_HOST"
    """The source's host without `//` before it: a name in a text, not an address."""

    UNPROVED = "UNPROVED"
    """Serialized data or JSON that could not be proved readable after the change; the whole value was left."""


@dataclass(frozen=True, slots=True)
class Left:
    """One place that names the source and was left: why, and its offset in the original bytes."""

    reason: str
    excerpt_offset: int


@dataclass(frozen=True, slots=True)
class Result:
    """A rewritten value. `value` is the very object given when nothing changed; `rewritten` counts addresses and paths.

    `format` is what a changed value was and, proved by reading it, still is.
    """

    value: bytes
    rewritten: int
    left: tuple[Left, ...]
    format: Format = Format.TEXT


@dataclass(slots=True)
class Tally:
    """What rewriting a stream came to: addresses and directories rewritten, and how many values were left for each reason."""

    rewritten: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def add(self, edits: Iterable[Edit], left: Iterable[Left]) -> None:
        """Count one value's changes."""
        self.rewritten += sum(edit.counts for edit in edits)
        self.left.update({remark.reason for remark in left})

    def count(self, result: Result) -> None:
        """Count one value's result."""
        self.rewritten += result.rewritten
        self.left.update({remark.reason for remark in result.left})


def remarks(found: Iterable[Left]) -> tuple[Left, ...]:
    """The remarks to return, by offset: BARE_HOST once (the first), all others up to `LEFT_PER_VALUE`."""
    ordered = sorted(found, key=lambda left: left.excerpt_offset)
    kept: list[Left] = []
    bare_seen = False
    for left in ordered:
        if left.reason == Reason.BARE_HOST:
            if bare_seen:
                continue
            bare_seen = True
        kept.append(left)
    return tuple(kept[:LEFT_PER_VALUE])
