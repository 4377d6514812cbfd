"""Values in SQL text. One place writes literals, for the asynchronous driver, the renewal line and lists alike.

Safe because every connection of ours speaks utf8mb4 and has backslash escapes on (`database.SESSION` sets sql_mode).
Drivers differ here: PyMySQL 1.2 no longer writes lists, and aiomysql 0.3 on it fails on bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from pymysql.converters import escape_string


def render(statement: str, values: Mapping[str, object]) -> str:
    """The statement with `%(name)s` replaced by literals. Raises KeyError, TypeError, ValueError: bugs of the caller."""
    return statement % _Literals(values)


def literal(value: object) -> str:
    """One value as SQL. Times are written as they are (UTC, naive); a list becomes a parenthesised one, never empty."""
    match value:
        case None:
            text = "NULL"
        case bool() | int():
            text = str(int(value))
        case float() if math.isfinite(value):
            text = repr(value)
        case Decimal() if value.is_finite():
            text = str(value)
        case str():
            text = f"'{escape_string(value)}'"
        case bytes():
            text = f"_binary X'{value.hex()}'"
        case datetime() if value.tzinfo is None:
            text = f"'{value.isoformat(sep=' ', timespec='microseconds')}'"
        case list() | tuple() if value:
            text = f"({', '.join(literal(item) for item in value)})"
        case _:
            raise TypeError(f"no SQL literal for a value of type {type(value).__name__}")
    return text


class _Literals(dict[str, object]):
    """Writes only what the statement asks for."""

    def __getitem__(self, name: str) -> str:
        return literal(super().__getitem__(name))
