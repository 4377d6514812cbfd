"""The whole list of what the rewriter left, in a table beside the copied ones; the guard shows it to the clone's administrator.

A place is written in the transaction of its row's range and goes with it, so that the list is of exactly the rows that are
there. One row a value and reason: the list is bounded by the values that name the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wpclone.wordpress.proof import Place
from wpclone.wordpress.target import Connection, literal

TABLE = b"wpclone_left"
_ROWS_AT_ONCE = 1000


class LeftPlace(NamedTuple):
    """A value and why some of it was left, and how many remarks that made."""

    place: Place
    remarks: int


async def make_table(definitions: Connection) -> None:
    """Have the table. DDL: it commits."""
    await definitions.run(
        b"CREATE TABLE IF NOT EXISTS " + TABLE + b" (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        b" table_name VARBINARY(255) NOT NULL, range_number INT UNSIGNED NOT NULL, row_key BLOB NOT NULL,"
        b" column_name VARBINARY(255) NOT NULL, reason VARBINARY(32) NOT NULL, places INT UNSIGNED NOT NULL,"
        b" KEY of_range (table_name, range_number)) ENGINE=InnoDB"
    )


async def add(rows: Connection, table: bytes, number: int, left: Sequence[LeftPlace]) -> None:
    """Write places of the table's range `number`, in the transaction the caller is in."""
    into = b"INSERT INTO " + TABLE + b" (table_name, range_number, row_key, column_name, reason, places) VALUES "
    head = b"(" + literal(table) + b",%d," % number
    for start in range(0, len(left), _ROWS_AT_ONCE):
        values = [head + b",".join(_values(one)) + b")" for one in left[start : start + _ROWS_AT_ONCE]]
        await rows.run(into + b",".join(values))


def _values(one: LeftPlace) -> Iterator[bytes]:
    yield from (literal(text.encode()) for text in one.place)
    yield b"%d" % one.remarks


async def forget(rows: Connection, table: bytes, number: int | None = None) -> None:
    """Remove the places of a range, or of all the table, in the transaction the caller is in."""
    of_range = b"" if number is None else b" AND range_number = %d" % number
    await rows.run(b"DELETE FROM " + TABLE + b" WHERE table_name = " + literal(table) + of_range)
