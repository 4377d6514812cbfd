"""One attempt's tables whose files are brought: made empty, given their content, and read back to be rewritten.

A table that was brought and is not full is always begun again: of its rows some may have been rewritten, and none ever is twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import structlog

from wpclone.wordpress.agent.wire import RowsFrame
from wpclone.wordpress.control import Cursor
from wpclone.wordpress.file_rules import shown
from wpclone.wordpress.inspect import TableReport
from wpclone.wordpress.near_tables import MOST_CHANGED, MOST_REFUSALS, NearTables, Unfit, is_fit, most_bytes
from wpclone.wordpress.row_sql import Chunk
from wpclone.wordpress.table_build import TableBuilder
from wpclone.wordpress.table_plan import TablePlan
from wpclone.wordpress.table_reader import frames
from wpclone.wordpress.table_refresh import Chunker
from wpclone.wordpress.target import TargetDatabase, connected

_log = structlog.get_logger(__name__)


@dataclass
class Bringer:
    """Brings the tables that are fit for it into `target`, whose claim is `fence`; without `near` none. `wanted`: which."""

    near: NearTables | None
    target: TargetDatabase
    fence: int
    builder: TableBuilder
    wanted: dict[bytes, TableReport] = field(default_factory=dict)
    _refusals: int = 0

    def choose(self, plan: TablePlan, known: TableReport, cursor: Cursor | None) -> None:
        """Want the table, if it is fit and was not begun the ordinary way."""
        if self.near is not None and is_fit(plan, known) and (cursor is None or (cursor.brought and not cursor.full)):
            self.wanted[plan.name] = known

    async def bring(self, plans: Mapping[bytes, TablePlan], cursors: MutableMapping[bytes, Cursor], now: int) -> None:
        """Bring what is wanted. What cannot be brought gets an empty table for the ordinary way. `now` is the source's time."""
        for name in [name for name in self.wanted if name in plans and not cursors[name].full]:
            why = await self._bring(plans[name], cursors)
            if why:
                _log.info("table.not_brought", table=shown(name), why=why)
                self._refusals += 1
                await self.give_up(plans[name], cursors)
            cursors[name] = replace(cursors[name], since=now)

    async def _bring(self, plan: TablePlan, cursors: MutableMapping[bytes, Cursor]) -> str:
        if self.near is None or self._refusals >= MOST_REFUSALS:
            return "too many were refused"
        await self.builder.create_to_bring(plan, cursors)
        return await self.near.bring_table(plan.name, self.fence, most_bytes(self.wanted[plan.name]))

    async def give_up(self, plan: TablePlan, cursors: MutableMapping[bytes, Cursor]) -> None:
        """Have the table empty, for the ordinary way."""
        self.wanted.pop(plan.name, None)
        cursors.pop(plan.name, None)
        await self.builder.create({plan.name: plan}, cursors)

    async def chunks(self, plan: TablePlan, chunk: Chunker) -> AsyncGenerator[tuple[TablePlan, RowsFrame, Chunk], None]:
        """The rows of a table that was brought, as they came, with what writes those that change. Raises Unfit, SiteError."""
        there, is_first = replace(plan, is_there=True), True
        async with connected(self.target, binary=True) as connection, aclosing(frames(connection, there)) as found:
            async for frame in found:
                made = await chunk(there, frame)
                if is_first and sum(made.range.proof.changed.values()) > MOST_CHANGED:
                    raise Unfit(plan.name, "most of its rows change")
                is_first = False
                yield there, frame, made
