"""Stages a source's tables beside the target's own: definitions, then rows in a stream, then indexes and foreign keys.

Repeatable and resumable at the chunk: rows and cursor are one transaction at the target, so every row lands once. The live tables
are not touched. Rows are rewritten in the stream, never in place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any

from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Damaged, RowsFrame, decoded
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.control import Cursor
from wpclone.wordpress.ddl import UnknownDdl, parse_table
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.file_rules import LeftOut
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Counts, Progress
from wpclone.wordpress.proof import sums
from wpclone.wordpress.restore.report import TargetReport
from wpclone.wordpress.restore.target import RestoreTarget
from wpclone.wordpress.row_sql import Chunk, Rewriter, chunk
from wpclone.wordpress.table_definition import ForeignKey, Key, Table, quoted
from wpclone.wordpress.table_plan import TablePlan, plan_table
from wpclone.wordpress.table_ranges import NOTHING, joined
from wpclone.wordpress.table_result import TableCopied, tables_json

_DEFER_FROM_ROWS = 20_000
_CHECK_NAME = re.compile(rb"^CONSTRAINT `(?:[^`]|``)*` (?=CHECK )")
# What InnoDB cannot have and another engine can: a counter inside a key, longer rows, longer keys.
_ENGINE_ERRORS = ("error 1005", "error 1031", "error 1071", "error 1075", "error 1118", "error 1163", "error 1214", "error 1478")


@dataclass(frozen=True)
class TablesStaged:
    """What was staged, tables by their names at the target. `consistency`: SNAPSHOT if all rows are of one moment, else FUZZY.
    `left`: what the rewriter left, by reason; `reported`: what of the tables' definitions was changed or left out."""

    tables: tuple[TableCopied, ...]
    consistency: str
    reported: tuple[LeftOut, ...]
    left: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        reported = [asdict(item) for item in self.reported]
        return {
            "tables": tables_json(self.tables), "consistency": self.consistency, "reported": reported, "left": dict(self.left),
        }  # fmt: skip


@dataclass
class _Staged:
    """One table on its way: its plan under its private name, how far it is, and the cursor text the target holds."""

    name: str
    source: str
    plan: TablePlan
    original: Table
    cursor: Cursor
    text: str


async def stage_tables(
    source: AgentClient, report: SiteReport, target: RestoreTarget, *, tables: Sequence[str], target_report: TargetReport,
    target_prefix: str, rewriter: Rewriter | None, progress: Progress,
) -> TablesStaged:  # fmt: skip
    """Stage `tables` (names at the source); a source table with the source's prefix gets the target's.

    Raises FencedOff, SiteError: TABLE_UNSUPPORTED, TARGET_DATABASE_REFUSED, TARGET_TOO_SMALL, STAGING_DAMAGED (a value did not
    fit), and what requests raise.
    """
    staging = _Staging(source, report, target, target_report, target_prefix, rewriter, progress)
    await staging.plan(tables)
    await staging.create()
    await staging.stream()
    await staging.finish()
    return staging.result()


async def verify_tables(
    source: AgentClient, report: SiteReport, target: RestoreTarget, *, tables: Sequence[str], target_report: TargetReport,
    target_prefix: str, progress: Progress,
) -> None:  # fmt: skip
    """Read the staged tables back and compare rows and checksums with what was sent; SiteError(STAGING_DAMAGED) names a table.

    Call it before rows are carried over from the live tables. Where a key's order may differ between the two servers only the
    rows are counted.
    """
    staging = _Staging(source, report, target, target_report, target_prefix, None, progress)
    await staging.plan(tables)
    await staging.verify()


class _Staging:
    """One attempt."""

    def __init__(
        self, source: AgentClient, report: SiteReport, target: RestoreTarget, target_report: TargetReport, prefix: str,
        rewriter: Rewriter | None, progress: Progress,
    ) -> None:  # fmt: skip
        self._source, self._report, self._target, self._examined = source, report, target, target_report
        self._prefix, self._rewriter, self._progress = prefix, rewriter, progress
        self._tables: list[_Staged] = []
        self._fuzzy = False

    def _name(self, source: str) -> str:
        """What a source's table is called at the target."""
        prefix = self._report.table_prefix
        return self._prefix + source[len(prefix) :] if source.startswith(prefix) else source

    async def plan(self, tables: Sequence[str]) -> None:
        """Parse the definitions and give each table its private name."""
        known = {table.name: table for table in self._report.tables}
        wanted = [known[name] for name in tables]
        said = await self._source.schema([table.name.encode() for table in wanted])
        numbers = await self._target.number([self._name(table.name) for table in wanted])
        for table, description in zip(wanted, said, strict=True):
            name = self._name(table.name)
            cursor = Cursor.from_text(numbers[name].cursor) if numbers[name].cursor else Cursor()
            try:
                plan = plan_table(description, table, report=self._report, server=self._examined.server, exact=cursor.exact)
            except UnknownDdl as unknown:
                why = f"Table {table.name} has {unknown}, which cannot be restored; leave it out."
                raise SiteError(Reason.TABLE_UNSUPPORTED, why, table=table.name) from unknown
            except (Damaged, KeyError, TypeError, ValueError) as error:
                raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, table=table.name) from error
            private = replace(plan, name=numbers[name].staged, table=_private(plan.table, numbers[name].staged))
            self._tables.append(_Staged(name, table.name, private, plan.table, cursor, numbers[name].cursor))
        self._fuzzy = any(staged.cursor.rows for staged in self._tables)

    async def create(self) -> None:
        """Create every table that has no usable cursor, anew."""
        for staged in self._tables:
            if not staged.text or (staged.cursor.engine != "InnoDB" and not staged.cursor.full):
                await self._create(staged, exact=False)
        self._tell()

    async def _create(self, staged: _Staged, *, exact: bool) -> None:
        table = staged.plan.table
        defer = self._deferred(staged)
        cursor = Cursor(exact=exact)
        try:
            await self._define(staged, [table.create(defer=defer)], cursor, anew=True)
        except SiteError as error:
            refused = error.metadata.get("detail", "").startswith(_ENGINE_ERRORS)
            if not refused or table.engine.upper() == "INNODB":
                raise self._named(error, staged) from error
            cursor = replace(cursor, engine=table.engine)
            await self._define(staged, [table.create(defer=defer, engine=table.engine)], cursor, anew=True)

    def _deferred(self, staged: _Staged) -> list[Key]:
        return staged.plan.table.deferrable() if staged.plan.rows >= _DEFER_FROM_ROWS else []

    async def _define(self, staged: _Staged, statements: Sequence[bytes], cursor: Cursor, *, anew: bool) -> None:
        text = cursor.text().decode()
        await self._target.define(staged.name, statements, anew=anew, cursor=text)
        staged.cursor, staged.text = cursor, text

    def _named(self, error: SiteError, staged: _Staged) -> SiteError:
        """The target's refusal with the table's name; a full database or a lost fence says enough by itself."""
        if error.reason not in (Reason.TARGET_DATABASE_REFUSED, Reason.STAGING_DAMAGED):
            return error
        detail = error.metadata.get("detail", "")
        message = f"The target's database did not take table {staged.name} as it is: {detail.partition(':')[0]}."
        return SiteError(error.reason, message, table=staged.name, detail=detail)

    async def stream(self) -> None:
        """Read, rewrite and write what is not there yet."""
        while True:
            pending = [staged for staged in self._tables if not staged.cursor.full]
            if not pending:
                return
            again = await self._pass(pending)
            if again is None:
                return
            self._fuzzy = True
            await self._restart_exactly(again)

    async def _pass(self, pending: Sequence[_Staged]) -> _Staged | None:
        """One stream of rows; the table to begin again with binary collations, if a key's values were found equal."""
        sending: asyncio.Task[None] | None = None
        current: _Staged | None = None
        try:
            async with aclosing(self._chunks(pending)) as chunks:
                async for staged, frame, made in chunks:
                    if sending is not None:
                        await sending
                    current, sending = staged, asyncio.create_task(self._write(staged, frame, made))
            if sending is not None:
                await sending
        except SiteError as error:
            doubled = error.metadata.get("detail", "").startswith("error 1062") and current is not None
            if doubled and current is not None and current.original.mapped and not current.cursor.exact:
                return current
            raise
        finally:
            if sending is not None and not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
        return None

    async def _restart_exactly(self, staged: _Staged) -> None:
        """Begin one table again with binary collations where the target does not know the source's."""
        said = await self._source.schema([staged.source.encode()])
        known = next(table for table in self._report.tables if table.name == staged.source)
        plan = plan_table(said[0], known, report=self._report, server=self._examined.server, exact=True)
        staged.plan = replace(plan, name=staged.plan.name, table=_private(plan.table, staged.plan.name))
        staged.original = plan.table
        await self._create(staged, exact=True)

    async def _chunks(self, pending: Sequence[_Staged]) -> AsyncGenerator[tuple[_Staged, RowsFrame, Chunk], None]:
        """The rows of tables as SQL, made while the ones before are written."""
        asked = [replace(one.plan.asked, after=one.cursor.key, offset=one.cursor.rows) for one in pending]
        async with aclosing(self._source.rows(asked)) as stream:
            async for frame, request in stream:
                self._fuzzy |= request > 1
                staged = pending[frame.index]
                yield staged, frame, await blocking(self._chunk, staged, frame)

    def _chunk(self, staged: _Staged, frame: RowsFrame) -> Chunk:
        try:
            return chunk(staged.plan, frame, self._rewriter, self._examined.packet_bytes)
        except Damaged as error:
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, table=staged.source) from error

    async def _write(self, staged: _Staged, frame: RowsFrame, made: Chunk) -> None:
        cursor = replace(staged.cursor, ranges=(joined(staged.cursor.whole, made.range),), full=frame.last)
        text = cursor.text().decode()
        try:
            await self._target.load(made.statements, [(staged.name, staged.text, text)])
        except SiteError as error:
            raise self._named(error, staged) from error
        staged.cursor, staged.text = cursor, text
        self._tell()

    async def finish(self) -> None:
        """Add what was deferred to tables whose rows are all there; a foreign key the rows break is noted, not made."""
        for staged in self._tables:
            if staged.cursor.done:
                continue
            notes: list[str] = []
            alter = b"ALTER TABLE " + quoted(staged.plan.name)
            there = await self._keys(staged)
            for key in self._deferred(staged):
                if key.name not in there:
                    await self._define(staged, [alter + b" ADD " + key.sql], staged.cursor, anew=False)
            for number, foreign in enumerate(staged.plan.table.foreign_keys):
                notes += await self._relate(staged, number, foreign)
            cursor = replace(staged.cursor, done=True, notes=(*staged.cursor.notes, *notes))
            await self._define(staged, [], cursor, anew=False)

    async def _keys(self, staged: _Staged) -> set[bytes]:
        """The indexes a staged table has: an attempt before may have made some."""
        if not self._deferred(staged):
            return set()
        said = await self._target.agent.schema([staged.plan.name])
        made = parse_table(decoded(said[0]["create"]), server=self._examined.server)
        return {key.name for key in made.keys}

    async def _relate(self, staged: _Staged, number: int, foreign: ForeignKey) -> list[str]:
        """Add one foreign key, to the staged table it refers to or else the live one; why not, if it was not possible."""
        sources = {one.source.encode(): one.plan.name for one in self._tables}
        other = sources.get(foreign.refers_to) or self._name(foreign.refers_to.decode()).encode()
        sql = _related(foreign, b"%s_k%d" % (staged.plan.name, number), other)
        try:
            await self._define(staged, [b"ALTER TABLE " + quoted(staged.plan.name) + b" ADD " + sql], staged.cursor, anew=False)
        except SiteError as error:
            if error.reason is not Reason.TARGET_DATABASE_REFUSED:
                raise
            detail = error.metadata.get("detail", "")
            if detail.startswith(("error 1826", "error 121:", "error 1005", "error 1022")) and await self._related(
                staged, number
            ):
                return []  # an attempt before made it
            return [f"a foreign key was dropped ({detail.partition(':')[0]})"]
        return []

    async def _related(self, staged: _Staged, number: int) -> bool:
        said = await self._target.agent.schema([staged.plan.name])
        return b"`%s_k%d`" % (staged.plan.name, number) in decoded(said[0]["create"])

    async def verify(self) -> None:
        """Read back what is staged and compare."""
        for staged in self._tables:
            wanted = staged.cursor.whole
            found = NOTHING
            comparable = not staged.original.mapped or all(
                kind in ("int", "binary", "ascii") for _, kind in staged.plan.asked.key
            )
            asked = replace(staged.plan.asked, name=staged.plan.name)
            async with aclosing(self._target.agent.rows([asked])) as stream:
                async for frame, _ in stream:
                    found = joined(found, (await blocking(self._chunk, staged, frame)).range)
            same = found.rows == wanted.rows and (not comparable or (found.sql, found.sql_size) == (wanted.sql, wanted.sql_size))
            if not staged.cursor.done or not same:
                message = f"Table {staged.name} was staged with {found.rows} rows that are not the {wanted.rows} sent."
                raise SiteError(Reason.STAGING_DAMAGED, message, table=staged.name)
            self._progress(Counts(rows_done=found.rows, rows_total=wanted.rows))

    def _tell(self) -> None:
        rows = sum(one.cursor.rows for one in self._tables)
        size = sum(one.cursor.size for one in self._tables)
        names = {one.source for one in self._tables}
        known = [table for table in self._report.tables if table.name in names]
        self._progress(
            Counts(
                bytes_done=size,
                bytes_total=sum(table.bytes for table in known),
                rows_done=rows,
                rows_total=sum(table.rows for table in known),
            )
        )

    def result(self) -> TablesStaged:
        """What was staged."""
        tables, left, reported = [], dict[str, int](), []
        for staged in self._tables:
            whole = staged.cursor.whole
            tables.append(TableCopied(staged.name, whole.rows, whole.size, whole.values, whole.sql, whole.proof))
            left = sums(left, whole.left)
            notes = dict.fromkeys([*staged.original.notes, *staged.cursor.notes])
            reported += [LeftOut(staged.name, note) for note in notes]
        fuzzy = self._fuzzy or any(one.plan.engine.upper() != "INNODB" for one in self._tables)
        return TablesStaged(tuple(tables), "FUZZY" if fuzzy else "SNAPSHOT", tuple(reported), left)


def _private(table: Table, name: bytes) -> Table:
    """The table under its private name; a check's name, which some servers want unique in the database, is dropped."""
    return replace(table, name=name, checks=[_CHECK_NAME.sub(b"", check) for check in table.checks])


def _related(foreign: ForeignKey, name: bytes, other: bytes) -> bytes:
    """A foreign key under another name, to another table."""
    own, middle, rest = foreign.sql.partition(b" REFERENCES " + quoted(foreign.refers_to))
    _, _, columns = own.partition(b"FOREIGN KEY ")
    return (
        b"CONSTRAINT " + quoted(name) + b" FOREIGN KEY " + columns + b" REFERENCES " + quoted(other) + (rest if middle else b"")
    )
