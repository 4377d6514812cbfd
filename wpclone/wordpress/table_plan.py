"""How each table is read and written: its key, its columns, and what its values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wpclone.wordpress.agent.asked import Asked
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
_LARGE = {"mediumtext", "longtext", "mediumblob", "longblob"}
_UTF8 = {"utf8", "utf8mb3", "utf8mb4", "ascii", "binary", ""}
_WIDE = {"ucs2", "utf16", "utf16le", "utf32"}
#: MySQL's character sets by Python's names; the few it has no codec for are rewritten as bytes, which fits all that extend ASCII.
_CODECS = {
    "latin1": "cp1252", "latin2": "iso8859_2", "latin5": "iso8859_9", "latin7": "iso8859_13", "greek": "iso8859_7",
    "hebrew": "iso8859_8", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850",
    "cp852": "cp852", "cp866": "cp866", "koi8r": "koi8_r", "koi8u": "koi8_u", "tis620": "tis_620", "gbk": "gbk",
    "gb2312": "gb2312", "gb18030": "gb18030", "big5": "big5", "sjis": "shift_jis", "cp932": "cp932", "ujis": "euc_jp",
    "eucjpms": "euc_jp", "euckr": "euc_kr", "macroman": "mac_roman", "macce": "mac_latin2", "ucs2": "utf_16_be",
    "utf16": "utf_16_be", "utf16le": "utf_16_le", "utf32": "utf_32_be",
}  # fmt: skip


@dataclass(frozen=True)
class Coded:
    """Text in another character set than the site's connection: Python's codec of the column, and of what PHP sees."""

    column: str
    client: str
    wide: bool


Kind = str | Coded


@dataclass(frozen=True)
class TablePlan:
    """One table: its definition for the target, the columns whose values are copied with their kinds, and how it is asked for.

    `is_there`: the rows are at the target already as they are at the source, so that only those are written that change.
    """

    name: bytes
    source: bytes
    table: Table
    columns: tuple[bytes, ...]
    kinds: tuple[Kind, ...]
    asked: Asked
    engine: str
    rows: int
    has_options: bool = False
    is_there: bool = False

    @property
    def has_ranges(self) -> bool:
        """Whether both databases order its rows alike, so that a range of keys is the same rows in both."""
        return bool(self.asked.key) and not any(name in self.table.mapped for name, _ in self.asked.key)

    @property
    def is_transactional(self) -> bool:
        """Whether the source reads it as of a snapshot."""
        return self.engine.upper() == "INNODB"

    @property
    def is_wide(self) -> bool:
        """Whether some text is in units of more than a byte, in which no address is found by its bytes."""
        return any(isinstance(kind, Coded) and kind.wide for kind in self.kinds)

    @property
    def insert(self) -> bytes:
        """The beginning of what writes its rows: an INSERT, or a REPLACE of those that are there."""
        verb = b"REPLACE" if self.is_there else b"INSERT"
        columns = b",".join(b"`" + column.replace(b"`", b"``") + b"`" for column in self.columns)
        return verb + b" INTO `" + self.name.replace(b"`", b"``") + b"` (" + columns + b") VALUES "


def plan_table(
    said: Mapping[str, Any], known: TableReport, *, report: SiteReport, server: Server, exact: bool = False
) -> TablePlan:
    """The plan for a table the agent described; raises UnknownDdl, and ValueError or KeyError for a description that makes no
    sense."""
    name, source = decoded(said["name"]), decoded(said["create"])
    table = parse_table(source, server=server, exact=exact)
    table.name = name  # as it is called there; its server may have another idea of capitals
    columns = [column for column in said["columns"] if not _generated(column)]
    names = tuple(decoded(column["name"]) for column in columns)
    key = _key(said["keys"], {decoded(column["name"]): column for column in columns})
    asked = Asked(
        name, tuple((decoded(column["name"]), _how(column["data"])) for column in columns), key,
        tuple(names.index(part) for part, _ in key), max(known.average, 1),
    )  # fmt: skip
    kinds = tuple(_kind(column, name, report) for column in columns)
    has_options = name == report.table_prefix.encode() + b"options"
    return TablePlan(name, source, table, names, kinds, asked, known.engine, known.rows, has_options)


def _generated(column: Mapping[str, Any]) -> bool:
    extra = str(column["extra"])
    # Before MariaDB 10.2 a generated column was only called by how it is kept.
    return extra in ("VIRTUAL", "PERSISTENT") or ("GENERATED" in extra and "DEFAULT_GENERATED" not in extra)


def _how(data: str) -> str:
    return "large" if data in _LARGE else {"float": "float", "bit": "bit"}.get(data, "plain")


def _kind(column: Mapping[str, Any], table: bytes, report: SiteReport) -> Kind:
    data, name = str(column["data"]), decoded(column["name"])
    if data in _NUMBERS or data in ("float", "double", "bit"):
        return NUMBER
    if data == "json":
        return JSON
    # A password's hash may by chance look like anything, and never names a host.
    if data in _TEXTS and not (name == b"user_pass" and table == report.table_prefix.encode() + b"users"):
        return _text_kind(str(column["charset"] or ""), report.client_charset)
    return PLAIN


def _text_kind(column: str, client: str) -> Kind:
    """Text is rewritten as PHP sees it: in the connection's character set, which the server converts the column's to."""
    if column == client or (column in _UTF8 and client in _UTF8):
        return TEXT
    seen = "utf_8" if client in _UTF8 else _CODECS.get(client)
    held = "utf_8" if column in _UTF8 else _CODECS.get(column)
    return TEXT if seen is None or held is None or client in _WIDE else Coded(held, seen, column in _WIDE)


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
