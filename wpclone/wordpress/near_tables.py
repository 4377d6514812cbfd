"""Tables of a source in the copy's own database server, whose files somebody who may copy them brings: a table space copy.

The table is made from the same parsed definition as ever, then gets the source's file as it is at one moment. Its rows are read
here once through the rewriter, which proves and counts as ever, and only those that change are written. A table that is not fit
for this is copied the ordinary way.
"""

from __future__ import annotations

import re
from typing import Protocol

from wpclone.wordpress.inspect import TableReport
from wpclone.wordpress.table_plan import TablePlan

LEAST_BYTES = 8 << 20
"""A smaller table is read from the agent and written sooner than its file is brought, which takes a tenth of a second."""
MOST_BYTES = 1 << 30
"""A larger table's file would hold up writes to the source for seconds."""
MOST_REFUSALS = 3
"""After so many tables that could not be brought the rest are copied the ordinary way: each may have waited for a lock."""
MOST_CHANGED = 2000
"""With more changed values than this in its first megabyte a table is written anew sooner than row by row."""
_NAME = re.compile(rb"[A-Za-z0-9_]{1,64}")


class Unfit(Exception):
    """The table `name` is to be copied the ordinary way, from its beginning; the message says why."""

    def __init__(self, name: bytes, why: str) -> None:
        super().__init__(why)
        self.name = name


class NearTables(Protocol):
    """Brings tables of one source."""

    async def bring_table(self, table: bytes, fence: int, most: int) -> str:
        """Give the copy's empty table the content that the source's table of the same name has at one moment; why not, if not,
        and then the copy's table is to be made anew. No file larger than `most` bytes. Raises FencedOff for an older claim."""


def is_fit(plan: TablePlan, known: TableReport) -> bool:
    """Whether a table's file may be brought: what the server imports, and what REPLACE of single rows makes the same copy of."""
    table = plan.table
    primary = [key for key in table.keys if key.sql.startswith(b"PRIMARY")]
    return (
        LEAST_BYTES <= known.bytes <= MOST_BYTES
        and known.engine.upper() == table.engine.upper() == "INNODB"
        and _NAME.fullmatch(plan.name) is not None
        and [key.columns for key in primary] == [tuple(name for name, _ in plan.asked.key)]
        and not any(key.unique for key in table.keys if key not in primary)  # REPLACE would drop whatever has an equal value
        and not any(key.sql.startswith((b"FULLTEXT", b"SPATIAL")) for key in table.keys)
        and plan.columns == tuple(table.columns)  # nothing generated, nothing left out
        and not (table.foreign_keys or table.notes or table.mapped)
    )


def most_bytes(known: TableReport) -> int:
    """How large the file of a table with so many bytes of data may be: a file keeps the room of rows that were deleted."""
    return min(MOST_BYTES, 4 * known.bytes + (64 << 20))
