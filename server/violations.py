"""All that is wrong with a request, told at once. Field names are the API's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from re import Pattern
from typing import TypeVar

from wpclone.core.jobs.errors import FieldViolation, InvalidRequest

E = TypeVar("E")


class Violations:
    """Collects bad fields; `check` raises them together.

    The `read_*` methods note what is wrong and return a value that will do until `check`.
    """

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Note a bad field: one sentence on what would be right."""
        self._found.append(FieldViolation(field, description))

    def check(self) -> None:
        """Raise InvalidRequest when anything was noted."""
        if self._found:
            raise InvalidRequest(self._found)

    def read_text(self, field: str, value: str, *, longest: int) -> str:
        """A text that must be there, of at most `longest` characters, without NUL."""
        if not value:
            self.add(field, "is needed")
        elif len(value) > longest or "\x00" in value:
            self.add(field, f"must have at most {longest} characters and no NUL")
        return value

    def read_match(self, field: str, value: str, pattern: Pattern[str], *, like: str) -> str:
        """A text of this pattern; `like` describes it."""
        if not pattern.fullmatch(value):
            self.add(field, f"must be {like}")
        return value

    def read_set(
        self, field: str, values: Sequence[str], pattern: Pattern[str], *, most: int, entries: str, like: str
    ) -> tuple[str, ...]:
        """At most `most` texts of this pattern, sorted, each once; `entries` and `like` describe them."""
        if len(values) > most:
            self.add(field, f"must have at most {most} {entries}")
            return ()
        for i, value in enumerate(values):
            self.read_match(f"{field}[{i}]", value, pattern, like=like)
        return tuple(sorted(set(values)))

    def read_number(self, field: str, value: int, *, least: int, most: int) -> int:
        """A number within bounds, both included."""
        if not least <= value <= most:
            self.add(field, f"must be from {least} to {most}")
        return value

    def read_word(self, field: str, value: str, words: dict[str, E]) -> E | None:
        """What a word means; None for no word."""
        if value and value not in words:
            self.add(field, f"must be one of {', '.join(words)}")
        return words.get(value)

    def read_moment(self, field: str, value: datetime, *, after: datetime, most: datetime, limit: str) -> datetime:
        """A moment after `after` and not later than `most`, which `limit` describes."""
        if value <= after:
            self.add(field, "must be in the future")
        elif value > most:
            self.add(field, f"must be at most {limit} from now")
        return value
