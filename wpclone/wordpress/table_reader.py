"""Reads a table of the copy's own database in one statement, as the frames of rows that an agent would send of it.

The server's answer is read as it comes and taken apart in blocks, in a thread: a driver's own rows cost several times as much.
Source: the text protocol of MySQL and MariaDB (COM_QUERY response, resultset row).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from wpclone.wordpress.agent.wire import RowsFrame
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.near_tables import Unfit
from wpclone.wordpress.table_definition import quoted
from wpclone.wordpress.table_plan import TablePlan
from wpclone.wordpress.target import Connection

_FRAME_BYTES = 1 << 20
_END = b"\x05\0\0"
_END_BYTES = 9
_NOTHING = 0xFFFFFFFF
_CONTINUED = 0xFFFFFF
_NULL, _TWO, _THREE, _EIGHT, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF


async def frames(connection: Connection, plan: TablePlan) -> AsyncGenerator[RowsFrame, None]:
    """All rows of a table that has a key, as they are at one moment, in frames of about a megabyte; the last says so.

    To be read to the end, or the connection is of no more use. Raises Unfit, SiteError.
    """
    pieces, held = list[bytes](), 0
    async with aclosing(connection.answer(_statement(plan))) as answer:
        async for piece in answer:
            pieces.append(piece)
            held += len(piece)
            if held < _FRAME_BYTES and not _may_be_the_end(piece):
                continue
            found, rest, is_last = await blocking(_frame, b"".join(pieces), plan)
            pieces, held = [rest], len(rest)
            if is_last or found.rows:
                yield found
            if is_last:
                return


def _statement(plan: TablePlan) -> bytes:
    """What reads all of a table in the order of its key, each value as an agent reads it."""
    read = {"float": b"+0e0", "bit": b"+0"}
    columns = b",".join(quoted(name) + read.get(how, b"") for name, how in plan.asked.columns)
    order = b",".join(quoted(name) for name, _ in plan.asked.key)
    return b"SELECT " + columns + b" FROM " + quoted(plan.name) + b" ORDER BY " + order


def _may_be_the_end(piece: bytes) -> bool:
    """Whether these bytes end as the packet behind the last row does, or an error's might; taking them apart tells."""
    return piece[-_END_BYTES:].startswith(_END) or len(piece) < 1024


def _frame(data: bytes, plan: TablePlan) -> tuple[RowsFrame, bytes, bool]:
    """The whole rows in the beginning of a server's answer, the rest of it, and whether the answer ended."""
    width = len(plan.columns)
    values, used, is_last = taken_apart(data, plan.name)
    lengths = struct.pack(f">{len(values)}I", *[_NOTHING if value is None else len(value) for value in values])
    raw = b"".join(filter(None, values))
    rows = len(values) // width
    cursor = tuple(values[(rows - 1) * width + place] or b"" for place in plan.asked.places) if rows else ()
    sums = zlib.crc32(lengths), zlib.crc32(raw)
    return RowsFrame(0, is_last, rows, width, 0, cursor, values, len(raw), raw, sums), data[used:], is_last


def taken_apart(data: bytes, table: bytes) -> tuple[list[bytes | None], int, bool]:
    """The values of the whole rows in the beginning of a server's answer, how many bytes those were, and whether it ended there.

    Raises Unfit for a row of 16 MB or more, and for an error of the server's among the rows.
    """
    values: list[bytes | None] = []
    add = values.append
    at, end = 0, len(data)
    while end - at >= 4:
        size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        stop = at + 4 + size
        if size == _CONTINUED:
            raise Unfit(table, "a row of 16 MB or more")
        if stop > end:
            break
        at += 4
        if data[at] == _ERROR:
            raise Unfit(table, f"error {data[at + 1] | data[at + 2] << 8}")
        if data[at] == _EIGHT and size < 9:
            return values, stop, True
        while at < stop:
            length = data[at]
            at += 1
            if length >= _NULL:
                if length == _NULL:
                    add(None)
                    continue
                more = {_TWO: 2, _THREE: 3}[length]
                length = int.from_bytes(data[at : at + more], "little")
                at += more
            add(data[at : at + length])
            at += length
    return values, at, False
