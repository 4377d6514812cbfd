"""Copies a site's tables into a new database: definitions, then rows in a stream, then what changed meanwhile, then indexes,
foreign keys, views and triggers.

Repeatable and resumable at the chunk: rows and cursor are committed together, so every row lands once. Reading, rewriting and
writing overlap. Requires a database that holds nothing but this copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

import pymysql

from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Damaged, RowsFrame
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.control import TABLE as CONTROL_TABLE
from wpclone.wordpress.control import Control, Cursor
from wpclone.wordpress.ddl import UnknownDdl
from wpclone.wordpress.errors import Reason, SiteError, TableGone
from wpclone.wordpress.file_rules import LeftOut, shown
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.left_places import add as add_left
from wpclone.wordpress.left_places import make_table as make_left
from wpclone.wordpress.near_tables import NearTables, Unfit
from wpclone.wordpress.ownership import CORE, USERS
from wpclone.wordpress.programs import ProgramMaker, names
from wpclone.wordpress.progress import Counts, Progress
from wpclone.wordpress.proof import sums
from wpclone.wordpress.row_sql import Chunk, Rewriter, chunk
from wpclone.wordpress.table_bring import Bringer
from wpclone.wordpress.table_build import TableBuilder, known_packet, known_server
from wpclone.wordpress.table_plan import TablePlan, plan_table
from wpclone.wordpress.table_ranges import extended
from wpclone.wordpress.table_refresh import Refresher
from wpclone.wordpress.table_result import TableCopied, tables_json
from wpclone.wordpress.target import Connection, TargetDatabase, connected, refusals

__all__ = ["Rewriter", "TableCopied", "TablesCopied", "TargetDatabase", "copy_tables", "finish_tables"]

# One transaction: large enough that waiting for the disk is rare, small enough that a retry repeats little.
_COMMIT_BYTES = 8 << 20
_COMMIT_SECONDS = 2.0
_AHEAD = 2
_DUPLICATE = 1062
_Item = tuple[TablePlan, RowsFrame, Chunk]


@dataclass(frozen=True)
class TablesCopied:
    """What a copy wrote. `consistency`: SNAPSHOT if all rows are of one moment, else FUZZY.

    `fuzzy` names the tables that kept changing or were dropped meanwhile, `read_again` those that changed and were brought up to
    date. `left`: what the rewriter left, by reason; `reported`: what of the tables' definitions was changed or left out.
    """

    tables: tuple[TableCopied, ...]
    consistency: str
    reported: tuple[LeftOut, ...]
    left: Mapping[str, int]
    fuzzy: tuple[str, ...] = ()
    read_again: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """Bytes of all tables' values."""
        return sum(table.bytes for table in self.tables)

    @property
    def rewritten(self) -> int:
        """Addresses rewritten in all tables."""
        return sum(table.rewritten for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """As plain objects, with the sums."""
        return {
            "tables": tables_json(self.tables),
            "consistency": self.consistency,
            "reported": [asdict(item) for item in self.reported],
            "left": dict(self.left),
            "fuzzy": list(self.fuzzy),
            "read_again": list(self.read_again),
            "rows": self.rows,
            "bytes": self.bytes,
            "rewritten": self.rewritten,
        }


async def copy_tables(
    agent: AgentClient, report: SiteReport, target: TargetDatabase, *, rewriter: Rewriter | None, fence: int, progress: Progress,
    near: NearTables | None = None,
) -> TablesCopied:  # fmt: skip
    """Fill `target` with the site's own tables under the same names. `rewriter` changes text values; None copies bytes. `near`
    brings what it can of a source in the same database server.

    Raises FencedOff when a newer claim works there; SiteError: TARGET_DATABASE_DOWN, TARGET_DATABASE_REFUSED, TABLE_UNSUPPORTED,
    TOO_LITTLE_SPACE, and what requests to the agent raise.
    """
    control = Control(fence)
    async with connected(target, binary=False) as definitions:
        await control.claim(definitions)  # ends other connections to this database, so ours for rows comes after it
        async with connected(target, binary=True) as rows:
            builder = TableBuilder(definitions, rows, control)
            bringer = Bringer(near, target, fence, builder)
            return await _Copy(agent, report, builder, rows, control, rewriter, progress, bringer).run()


async def finish_tables(target: TargetDatabase, *, fence: int) -> None:
    """Drop the control table, at the end of the job; success when it is gone already. Raises FencedOff for an older claim."""
    async with connected(target, binary=False) as definitions, connected(target, binary=True) as rows:
        there = await definitions.run(b"SHOW TABLES LIKE '" + CONTROL_TABLE.replace(b"_", b"\\_") + b"'")
        if there:
            control = Control(fence)
            await rows.begin()
            await control.check(rows)
            await rows.commit()
            await definitions.run(b"DROP TABLE IF EXISTS " + CONTROL_TABLE)


class _Duplicate(Exception):
    """The target found two values of a unique key equal that the source told apart."""

    def __init__(self, name: bytes) -> None:
        super().__init__(name)
        self.name = name


class _Copy:
    """One attempt."""

    def __init__(
        self, agent: AgentClient, report: SiteReport, builder: TableBuilder, rows: Connection, control: Control,
        rewriter: Rewriter | None, progress: Progress, bringer: Bringer,
    ) -> None:  # fmt: skip
        self._agent, self._report, self._builder, self._rows = agent, report, builder, rows
        self._control, self._rewriter, self._progress, self._bringer = control, rewriter, progress, bringer
        self._plans: dict[bytes, TablePlan] = {}
        self._cursors: dict[bytes, Cursor] = {}
        self._reported: list[LeftOut] = []
        self._said: dict[bytes, Mapping[str, Any]] = {}
        self._read_again: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._one_snapshot = True
        self._told = Counts()

    async def run(self) -> TablesCopied:
        await self._plan()
        await make_left(self._builder.definitions)
        self._one_snapshot = not any(cursor.ranges or cursor.full for cursor in self._cursors.values())
        begun = {table.name.encode() for table in self._report.tables} & self._cursors.keys()
        await self._builder.drop(begun - self._plans.keys(), self._cursors)  # what an attempt before had of a table gone since
        brought = self._bringer.wanted
        await self._builder.create({name: plan for name, plan in self._plans.items() if name not in brought}, self._cursors)
        self._cursors |= dict.fromkeys(brought, Cursor(brought=True))
        self._tell()
        while True:
            try:
                await self._stream()
                fuzzy = await self._settle()
                break
            except _Duplicate as duplicate:
                await self._create_exactly(duplicate.name)
            except Unfit as unfit:
                self._cursors = await self._control.load(self._builder.definitions)
                await self._bringer.give_up(self._plans[unfit.name], self._cursors)
            except TableGone as gone:
                await self._leave_out(gone)
        await self._builder.finish(self._plans, self._cursors)
        await self._make_programs()
        self._tell()
        return self._result(fuzzy)

    async def _settle(self) -> set[bytes]:
        """Read again what changed at the source since it was read, unless all came in one snapshot. The tables that still
        changed."""
        if self._one_snapshot and all(plan.is_transactional for plan in self._plans.values()):
            return set()
        refresher = Refresher(
            self._agent,
            self._rows,
            self._control,
            self._plans,
            self._cursors,
            self._chunk,
            self._insert,
            self._read_again,
        )
        return await refresher.settle()

    async def _make_programs(self) -> None:
        """Views and triggers, after the data."""
        wanted = names(self._report.views, self._plans)
        if not wanted and not self._report.triggers:
            return
        views, triggers = await self._agent.programs(wanted)
        maker = ProgramMaker(self._builder.definitions, self._rows, self._control, self._rewriter)
        self._reported += await maker.views([view for view in views if view[0] in wanted])
        self._reported += await maker.triggers(triggers, self._plans.keys())

    async def _plan(self) -> None:
        """Ask for the definitions and parse them; what cannot be parsed is reported, or fatal for a core table."""
        self._server = await known_server(self._builder.definitions)
        self._packet = await known_packet(self._builder.definitions)
        self._cursors = await self._control.load(self._builder.definitions)
        said = await self._agent.schema([table.name.encode() for table in self._report.tables])
        for known, description in zip(self._report.tables, said, strict=True):
            self._said[known.name.encode()] = description
            if "error" in description:
                self._unsupported(known.name, f"a definition that its database cannot show ({str(description['error'])[:100]})")
                continue
            cursor = self._cursors.get(known.name.encode(), Cursor())
            try:
                plan = plan_table(description, known, report=self._report, server=self._server, exact=cursor.exact)
            except UnknownDdl as unknown:
                self._unsupported(known.name, str(unknown))
                continue
            except (KeyError, TypeError, ValueError) as error:
                raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, table=known.name) from error
            if plan.name != known.name.encode() or not plan.columns:
                raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, table=known.name)
            self._plans[plan.name] = plan
            self._bringer.choose(plan, known, self._cursors.get(plan.name))

    def _is_core(self, name: bytes) -> bool:
        prefix = self._report.table_prefix.encode()
        return name in {prefix + core for core in CORE + USERS}

    def _unsupported(self, name: str, why: str) -> None:
        if self._is_core(name.encode()):
            raise SiteError(Reason.TABLE_UNSUPPORTED, f"Table {name} has {why}, which cannot be copied.", table=name)
        self._reported.append(LeftOut(name, f"not copied: {why}"))

    async def _leave_out(self, gone: TableGone) -> None:
        """Go on without a table that was dropped at the source while it was copied; without a core table there is no site."""
        if self._is_core(gone.name):
            raise gone
        del self._plans[gone.name]
        await self._builder.drop([gone.name], self._cursors)
        self._gone.add(gone.name)
        self._reported.append(LeftOut(shown(gone.name), "not copied: it was dropped at the source meanwhile"))
        self._one_snapshot = False

    async def _create_exactly(self, name: bytes) -> None:
        """Start one table again with binary collations where the source's are unknown here."""
        known = next(table for table in self._report.tables if table.name.encode() == name)
        self._plans[name] = plan_table(self._said[name], known, report=self._report, server=self._server, exact=True)
        self._cursors = await self._control.load(self._builder.definitions)
        self._cursors.pop(name, None)
        self._one_snapshot = False
        await self._builder.create(self._plans, self._cursors, exact=name)

    async def _stream(self) -> None:
        """Read, rewrite and write what is not there yet."""
        pending = [plan for plan in self._plans.values() if not self._cursors[plan.name].full]
        if not pending:
            return
        now, _ = await self._agent.changes()
        for plan in pending:
            if not self._cursors[plan.name].ranges:
                self._cursors[plan.name] = replace(self._cursors[plan.name], since=now)
        self._one_snapshot &= not self._bringer.wanted
        await self._bringer.bring(self._plans, self._cursors, now)
        queue: asyncio.Queue[_Item | None] = asyncio.Queue(_AHEAD)
        async with aclosing(self._chunks(pending)) as chunks:
            reading = asyncio.create_task(_pour(chunks, queue))
            try:
                await self._write(queue, reading)
            except BaseException:
                await self._rows.rollback()
                raise
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    async def _chunks(self, pending: Sequence[TablePlan]) -> AsyncGenerator[_Item, None]:
        """The rows of tables as SQL, made while the next are on their way: first of those that were brought."""
        for plan in [plan for plan in pending if self._cursors[plan.name].brought]:
            async with aclosing(self._bringer.chunks(plan, self._chunk)) as chunks:
                async for item in chunks:
                    yield item
        pending = [plan for plan in pending if not self._cursors[plan.name].brought]
        asked = []
        for plan in pending:
            cursor = self._cursors[plan.name]
            asked.append(replace(plan.asked, after=cursor.key, offset=0 if plan.asked.key else cursor.rows))
        async with aclosing(self._agent.rows(asked)) as stream:
            async for frame, request in stream:
                self._one_snapshot &= request == 1
                plan = pending[frame.index]
                yield plan, frame, await self._chunk(plan, frame)

    async def _chunk(self, plan: TablePlan, frame: RowsFrame) -> Chunk:
        try:
            return await blocking(chunk, plan, frame, self._rewriter, self._packet)
        except Damaged as error:
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, table=shown(plan.name)) from error

    async def _write(self, queue: asyncio.Queue[_Item | None], reading: asyncio.Task[None]) -> None:
        """Write chunks as they come, several to a transaction."""
        loop = asyncio.get_running_loop()
        unsaved: dict[bytes, Cursor] = {}
        held, since = 0, loop.time()
        while True:
            item = await queue.get()
            if item is None:
                await reading  # raises what ended it
                break
            plan, frame, made = item
            if not unsaved:
                await self._rows.begin()
                held, since = 0, loop.time()
            for statement in made.statements:
                await self._insert(plan, statement)
            before = unsaved.get(plan.name, self._cursors[plan.name])
            ranges = extended(before.ranges, made.range, keyed=plan.has_ranges)
            await add_left(self._rows, plan.name, len(ranges) - 1, made.left)
            unsaved[plan.name] = replace(before, ranges=ranges, full=frame.last)
            held += made.range.size
            if held >= _COMMIT_BYTES or loop.time() - since > _COMMIT_SECONDS:
                await self._save(unsaved)
        await self._save(unsaved)

    async def _insert(self, plan: TablePlan, statement: bytes) -> None:
        try:
            with refusals(plan.name):
                await self._rows.run(statement)
        except SiteError as error:
            cause = error.__cause__
            told_apart = isinstance(cause, pymysql.err.MySQLError) and cause.args[0] == _DUPLICATE and plan.table.mapped
            if told_apart and not self._cursors[plan.name].exact:
                raise _Duplicate(plan.name) from error
            raise

    async def _save(self, unsaved: dict[bytes, Cursor]) -> None:
        """Commit rows and cursors together, unless a newer claim is there."""
        if not unsaved:
            return
        await self._control.check(self._rows)
        await self._control.save(self._rows, unsaved)
        await self._rows.commit()
        self._cursors |= unsaved
        unsaved.clear()
        self._tell()

    def _tell(self) -> None:
        """What is there; never less than was told, though a range read again may have become smaller."""
        rows = max(self._told.rows_done, sum(cursor.rows for cursor in self._cursors.values()))
        size = max(self._told.bytes_done, sum(cursor.size for cursor in self._cursors.values()))
        self._told = Counts(bytes_done=size, bytes_total=self._report.table_bytes, rows_done=rows, rows_total=self._report.rows)
        self._progress(self._told)

    def _result(self, fuzzy: set[bytes]) -> TablesCopied:
        tables, left, reported = [], dict[str, int](), list(self._reported)
        for name, plan in self._plans.items():
            cursor = self._cursors[name]
            whole = cursor.whole
            tables.append(TableCopied(shown(name), whole.rows, whole.size, whole.values, whole.sql, whole.proof))
            left = sums(left, whole.left)
            notes = list(dict.fromkeys([*plan.table.notes, *cursor.notes]))
            reported += [LeftOut(shown(name), note) for note in notes]
        changing = tuple(shown(name) for name in sorted(fuzzy | self._gone))
        read_again = tuple(shown(name) for name in sorted(self._read_again & self._plans.keys()))
        return TablesCopied(tuple(tables), "FUZZY" if changing else "SNAPSHOT", tuple(reported), left, changing, read_again)


async def _pour(source: AsyncGenerator[_Item, None], queue: asyncio.Queue[_Item | None]) -> None:
    """Put everything into the queue, and None at the end, also when the source failed."""
    try:
        async for item in source:
            await queue.put(item)
    except asyncio.CancelledError:
        raise  # the writer has ended; nobody reads the queue
    except BaseException:
        await queue.put(None)
        raise
    await queue.put(None)
