"""The control table of a database being filled: who may write (the fence), and how far each table is (the cursors).

One row, named '', holds the fence; each table has one row with its cursor. A chunk's transaction locks the fence row,
compares, and moves the cursor together with the rows, so that rows and cursor are one fact, and nobody older than the fence
commits anything.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pymysql

from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.table_ranges import NOTHING, Range, joined
from wpclone.wordpress.target import Connection, literal

TABLE = b"wpclone_control"


@dataclass(frozen=True)
class Cursor:
    """How far one table is: the ranges written, in key order. `full`: to its end; `done`: with its indexes.

    `exact`, `engine`: how it was created in the end. `brought`: its file was brought, so that unless it is full there may be rows
    of the source among rewritten ones, and it begins again. `since`: the source database's time (epoch seconds) before its first
    row was read.
    """

    ranges: tuple[Range, ...] = ()
    full: bool = False
    done: bool = False
    exact: bool = False
    engine: str = "InnoDB"
    brought: bool = False
    since: int = 0
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> Range:
        """All its ranges as one."""
        return reduce(joined, self.ranges, NOTHING)

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(one.rows for one in self.ranges)

    @property
    def size(self) -> int:
        """Bytes of values read."""
        return sum(one.size for one in self.ranges)

    @property
    def key(self) -> tuple[bytes, ...] | None:
        """The last key written."""
        return self.ranges[-1].key if self.ranges else None

    def text(self) -> bytes:
        """As the control table keeps it."""
        value = {**{name: getattr(self, name) for name in _PLAIN}, "ranges": [one.to_json() for one in self.ranges]}
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def from_text(cls, text: bytes | str) -> Cursor:
        """The inverse of `text`."""
        value: dict[str, Any] = json.loads(text)
        ranges = tuple(Range.from_json(one) for one in value["ranges"])
        return cls(**{**value, "notes": tuple(value["notes"]), "ranges": ranges})


_PLAIN = ("full", "done", "exact", "engine", "brought", "since", "notes")


class Control:
    """The control table as the holder of fence `number` uses it."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def claim(self, connection: Connection) -> None:
        """Make the table, put the fence there, and end the connections older claims left; raises FencedOff if a larger one
        stands."""
        await connection.run(
            b"CREATE TABLE IF NOT EXISTS " + TABLE + b" (name VARBINARY(255) PRIMARY KEY, fence BIGINT NOT NULL DEFAULT 0,"
            b" cursor_json LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB"
        )
        await connection.run(b"INSERT IGNORE INTO " + TABLE + b" (name, fence, cursor_json) VALUES ('', 0, '')")
        found = await connection.run(b"SELECT fence FROM " + TABLE + b" WHERE name = ''")
        self._judge(found)
        # A frozen worker's transaction would hold its row locks until it thaws; the fence has made it worthless.
        others = b"SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND DB = DATABASE()"
        for (number,) in await connection.run(others + b" AND USER = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"):
            try:
                await connection.run(b"KILL %d" % int(number))
            except pymysql.err.MySQLError:
                continue  # it has ended by itself
        async with self.holding(connection):
            await connection.run(b"UPDATE " + TABLE + b" SET fence = %d WHERE name = ''" % self._number)

    def _judge(self, found: list[tuple[Any, ...]]) -> None:
        if not found or int(found[0][0]) > self._number:
            raise FencedOff(f"fence {found[0][0] if found else 'none'} stands in the way of {self._number}")

    async def check(self, connection: Connection) -> None:
        """Within a transaction: lock the fence against being raised until its end; raises FencedOff."""
        try:
            found = await connection.run(b"SELECT fence FROM " + TABLE + b" WHERE name = '' LOCK IN SHARE MODE")
        except pymysql.err.ProgrammingError:
            raise FencedOff("the control table is gone: the work was finished by another") from None
        self._judge(found)

    @asynccontextmanager
    async def holding(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction during which nobody can raise the fence; for what cannot be part of a transaction itself (DDL
        elsewhere)."""
        await connection.begin()
        try:
            found = await connection.run(b"SELECT fence FROM " + TABLE + b" WHERE name = '' FOR UPDATE")
            self._judge(found)
            yield
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise

    async def save(self, connection: Connection, cursors: Mapping[bytes, Cursor]) -> None:
        """Write cursors, in the transaction the caller is in."""
        values = b",".join(b"(" + literal(name) + b",0," + literal(cursor.text()) + b")" for name, cursor in cursors.items())
        if values:
            await connection.run(
                b"INSERT INTO " + TABLE + b" (name, fence, cursor_json) VALUES " + values
                + b" ON DUPLICATE KEY UPDATE cursor_json = VALUES(cursor_json)"
            )  # fmt: skip

    async def forget(self, connection: Connection, names: Collection[bytes]) -> None:
        """Remove cursors, in the transaction the caller is in."""
        if names:
            await connection.run(b"DELETE FROM " + TABLE + b" WHERE name IN (" + b",".join(map(literal, names)) + b")")

    async def load(self, connection: Connection) -> dict[bytes, Cursor]:
        """Every table's cursor."""
        rows = await connection.run(b"SELECT CAST(name AS BINARY), cursor_json FROM " + TABLE + b" WHERE name <> ''")
        return {name.encode() if isinstance(name, str) else bytes(name): Cursor.from_text(text) for name, text in rows}
