"""Views and triggers of a source, made again in its copy by the copy's own database user: never DEFINER, never more rights.

Their bodies are the source's SQL, so they are only ever stored by a statement of ours on a connection that refuses a second one.
What cannot be made is reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set

import pymysql

from wpclone.wordpress.control import Control
from wpclone.wordpress.ddl_tokens import UnknownDdl, text, tokens
from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.file_rules import LeftOut, shown
from wpclone.wordpress.row_sql import Rewriter
from wpclone.wordpress.table_definition import quoted
from wpclone.wordpress.target import SQL_MODE, Connection

_NAME = rb"`(?:[^`]|``)+`"
#: What SHOW CREATE VIEW says in MySQL and MariaDB.
_VIEW = re.compile(
    rb"CREATE (?:ALGORITHM=\w+ )?(?:DEFINER=`(?:[^`]|``)*`@`(?:[^`]|``)*` )?(?:SQL SECURITY \w+ )?VIEW " + _NAME
    + rb" ?(?P<columns>\(" + _NAME + rb"(?:,\s*" + _NAME + rb")*\) ?)?AS (?P<body>.*)",
    re.DOTALL,
)  # fmt: skip
_FORBIDDEN = frozenset({"INTO", "OUTFILE", "DUMPFILE", "LOAD_FILE", "SLEEP", "BENCHMARK", "GET_LOCK", "PROCEDURE"})
_TIMINGS, _EVENTS = {b"BEFORE", b"AFTER"}, {b"INSERT", b"UPDATE", b"DELETE"}
_MODE = re.compile(rb"[A-Z0-9_,]*")
_NO_TABLE = {1146, 1356}


def view_statement(name: bytes, created: bytes) -> bytes:
    """The statement that makes a view of SHOW CREATE VIEW again; raises UnknownDdl."""
    found = _VIEW.fullmatch(created)
    if found is None:
        raise UnknownDdl("not a view's definition")
    body = tokens(found["body"])
    if not body or (body[0].raw != b"(" and body[0].word not in ("SELECT", "WITH")):
        raise UnknownDdl("not a query")
    for token in body:
        if token.word in _FORBIDDEN or token.raw == b":=":
            raise UnknownDdl(token.shown)
    columns = (found["columns"] or b"").rstrip()
    return b"CREATE OR REPLACE SQL SECURITY INVOKER VIEW " + quoted(name) + b" " + columns + b" AS " + text(body)


def trigger_statement(name: bytes, table: bytes, timing: bytes, event: bytes, body: bytes) -> bytes:
    """The statement that makes a trigger again; raises UnknownDdl."""
    if timing not in _TIMINGS or event not in _EVENTS:
        raise UnknownDdl(shown(timing + b" " + event))
    return b"CREATE TRIGGER " + quoted(name) + b" " + timing + b" " + event + b" ON " + quoted(table) + b" FOR EACH ROW " + body


class ProgramMaker:
    """Makes views and triggers on one connection while the other holds the fence. Repeatable."""

    def __init__(self, definitions: Connection, rows: Connection, control: Control, rewriter: Rewriter | None) -> None:
        self._definitions, self._rows, self._control = definitions, rows, control
        self._rewriter = rewriter

    async def views(self, said: Sequence[tuple[bytes, ...]]) -> list[LeftOut]:
        """Make the views, each after those it needs; what was not made and why."""
        left_out, waiting = list[LeftOut](), dict[bytes, bytes]()
        for name, created, why in said:
            try:
                if not created:
                    raise UnknownDdl(shown(why))
                waiting[name] = self._moved(view_statement(name, created))
            except UnknownDdl as unknown:
                left_out.append(LeftOut(shown(name), f"a view; not copied: {unknown}"))
        errors: dict[bytes, int] = {}
        while waiting:
            errors = {name: error for name, statement in waiting.items() if (error := await self._make([statement]))}
            if len(errors) == len(waiting) or not set(errors.values()) & _NO_TABLE:
                break
            waiting = {name: waiting[name] for name in errors}
        return left_out + [
            LeftOut(shown(name), f"a view; it could not be made (error {error})") for name, error in errors.items()
        ]

    async def triggers(self, said: Sequence[tuple[bytes, ...]], tables: Set[bytes]) -> list[LeftOut]:
        """Make the triggers of these tables; what was not made and why."""
        left_out: list[LeftOut] = []
        for name, table, timing, event, body, mode in said:
            if table not in tables:
                continue
            try:
                statement = trigger_statement(name, table, timing, event, self._moved(body))
                if not _MODE.fullmatch(mode):
                    raise UnknownDdl("SQL mode")
            except UnknownDdl as unknown:
                left_out.append(LeftOut(shown(name), f"a trigger; not copied: {unknown}"))
                continue
            drop = b"DROP TRIGGER IF EXISTS " + quoted(name)
            error = await self._make([drop, b"SET SESSION sql_mode = '" + mode + b"'", statement])
            await self._definitions.run(b"SET SESSION sql_mode = '" + SQL_MODE + b"'")
            if error:
                left_out.append(LeftOut(shown(name), f"a trigger; it could not be made (error {error})"))
        return left_out

    def _moved(self, statement: bytes) -> bytes:
        return statement if self._rewriter is None else self._rewriter.value(statement).value

    async def _make(self, statements: Sequence[bytes]) -> int:
        """Run statements under the fence; the number of the error that ended them, or 0."""
        async with self._control.holding(self._rows):
            try:
                for statement in statements:
                    await self._definitions.run(statement)
            except pymysql.err.MySQLError as error:
                return int(error.args[0])
            except SiteError as error:
                if not error.metadata.get("error") or error.transient:
                    raise
                return int(error.metadata["error"])
        return 0


def names(report_views: Sequence[str], plans: Mapping[bytes, object]) -> list[bytes]:
    """The views to ask for: none in the place of a table."""
    return [name.encode() for name in report_views if name.encode() not in plans]
