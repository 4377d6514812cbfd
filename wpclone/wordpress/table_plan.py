"""How each table is read and written: its key, its columns, and what its values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wpclone.wordpress.agent.client import Asked
from wpclone.wordpress.agent.wire import decoded
from wpclone.wordpress.ddl import parse_table
from wpclone.wordpress.inspect import SiteReport, TableReport
from wpclone.wordpress.table_definition import Server, Table

_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "numeric", "year"}
_TIMES = {"date", "datetime", "timestamp", "time"}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
#: Kinds of values, as they are written: a bare number when it is one, a literal, text that may be rewritten, a JSON document.
NUMBER, PLAIN, TEXT, JSON = "number", "plain", "text", "json"


@dataclass(frozen=True)
class TablePlan:
    """One table: its definition for the target, the columns whose values are copied with their kinds, and how it is asked for."""

    name: bytes
    source: bytes
    table: Table
    columns: tuple[bytes, ...]
    kinds: tuple[str, ...]
    asked: Asked
    engine: str
    rows: int

    @property
    def insert(self) -> bytes:
        """The beginning of an INSERT of its rows."""
        columns = b",".join(b"`" + column.replace(b"`", b"``") + b"`" for column in self.columns)
        return b"INSERT INTO `" + self.name.replace(b"`", b"``") + b"` (" + columns + b") VALUES "


def plan_table(
    said: Mapping[str, Any], known: TableReport, *, report: SiteReport, server: Server, exact: bool = False
) -> TablePlan:
    """The plan for a table the agent described; raises UnknownDdl, and ValueError or KeyError for a description that makes no
    sense."""
    name, source = decoded(said["name"]), decoded(said["create"])
    table = parse_table(source, server=server, exact=exact)
    columns = [column for column in said["columns"] if not _generated(column)]
    names = tuple(decoded(column["name"]) for column in columns)
    key = _key(said["keys"], {decoded(column["name"]): column for column in columns})
    asked = Asked(
        name, tuple((decoded(column["name"]), _how(column["data"])) for column in columns), key,
        tuple(names.index(part) for part, _ in key), max(known.average, 1),
    )  # fmt: skip
    kinds = tuple(_kind(column, name, report) for column in columns)
    return TablePlan(name, source, table, names, kinds, asked, known.engine, known.rows)


def _generated(column: Mapping[str, Any]) -> bool:
    extra = str(column["extra"])
    return "GENERATED" in extra and "DEFAULT_GENERATED" not in extra


def _how(data: str) -> str:
    return {"float": "float", "bit": "bit"}.get(data, "plain")


def _kind(column: Mapping[str, Any], table: bytes, report: SiteReport) -> str:
    data, name = str(column["data"]), decoded(column["name"])
    if data in _NUMBERS or data in ("float", "double", "bit"):
        return NUMBER
    if data == "json":
        return JSON
    # A password's hash may by chance look like anything, and never names a host.
    if data in _TEXTS and not (name == b"user_pass" and table == report.table_prefix.encode() + b"users"):
        return TEXT
    return PLAIN


def _key(keys: Sequence[Mapping[str, Any]], columns: Mapping[bytes, Mapping[str, Any]]) -> tuple[tuple[bytes, str], ...]:
    """The columns to page by, with the kind of their literals: the primary key, else a unique key without NULLs; else none."""
    for key in sorted(keys, key=lambda key: not key["primary"]):
        parts = [decoded(part["name"]) for part in key["parts"]]
        whole = not any(part["part"] or part["null"] for part in key["parts"]) and all(part in columns for part in parts)
        kinds = [_literal_kind(columns[part]) for part in parts] if whole else [""]
        if all(kinds):
            return tuple(zip(parts, kinds, strict=True))
    return ()


def _literal_kind(column: Mapping[str, Any]) -> str:
    """How a key's value is written in a comparison: see agent.php's `literal`. Empty for types whose order differs from their
    text's."""
    data = str(column["data"])
    if data in _NUMBERS:
        return "int"
    if data in _TIMES:
        return "ascii"
    if data in _BYTES:
        return "binary"
    return str(column["charset"] or "") if data in _TEXTS else ""
