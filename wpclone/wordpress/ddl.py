"""A foreign table definition, parsed and written anew from a list of what may be in one.

The source is not trusted with SQL: what SHOW CREATE TABLE says there is taken apart, and only columns, keys, checks, foreign
keys, engine and character sets are written again. Placement (DATA DIRECTORY, TABLESPACE), partitions, versioning and server
options are dropped and named in `notes`; anything unknown raises UnknownDdl. Source: the CREATE TABLE pages of the MySQL 8.4
and MariaDB manuals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wpclone.wordpress.ddl_tokens import Reader, Token, UnknownDdl, separated, text, tokens
from wpclone.wordpress.table_definition import ForeignKey, Key, Server, Table, quoted

__all__ = ["UnknownDdl", "parse_table"]

_TYPES = frozenset(
    [
        "BIT",
        "TINYINT",
        "SMALLINT",
        "MEDIUMINT",
        "INT",
        "INTEGER",
        "BIGINT",
        "DECIMAL",
        "NUMERIC",
        "FLOAT",
        "DOUBLE",
        "REAL",
        "DATE",
        "DATETIME",
        "TIMESTAMP",
        "TIME",
        "YEAR",
        "CHAR",
        "VARCHAR",
        "BINARY",
        "VARBINARY",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
        "TINYTEXT",
        "TEXT",
        "MEDIUMTEXT",
        "LONGTEXT",
        "ENUM",
        "SET",
        "JSON",
        "BOOLEAN",
        "BOOL",
        "UUID",
        "INET4",
        "INET6",
        "GEOMETRY",
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMETRYCOLLECTION",
        "GEOMCOLLECTION",
    ]
)
_ENGINES = frozenset({"INNODB", "MYISAM", "ARIA", "MEMORY"})
_REMOTE = frozenset(
    {"FEDERATED", "FEDERATEDX", "CONNECT", "SPIDER", "MRG_MYISAM", "MERGE", "S3", "CSV", "BLACKHOLE", "NDB", "NDBCLUSTER"}
)
# Words that would make an expression more than a computation over the row.
_NOT_IN_EXPRESSIONS = frozenset({"SELECT", "NEXTVAL", "LASTVAL", "SETVAL", "LOAD_FILE", "SLEEP", "BENCHMARK", "GET_LOCK", "INTO"})


def parse_table(definition: bytes, *, server: Server, exact: bool = False) -> Table:
    """The table of a SHOW CREATE TABLE; raises UnknownDdl.

    `exact` gives columns whose collation is unknown to the server its binary one: the way out when the nearest finds two
    values equal that were different at the source.
    """
    reader = Reader(tokens(definition))
    if not reader.take("CREATE", "TABLE"):
        raise UnknownDdl("not a table's definition")
    table = Table(reader.next().name)
    body = separated(reader.group())
    _options(table, reader, server)
    for part in body:
        _Part(table, Reader(part), server, exact).read()
    if not table.columns:
        raise UnknownDdl("no columns")
    return table


def _options(table: Table, reader: Reader, server: Server) -> None:
    """What follows the columns: engine, character set and comment are kept, the rest is not ours to set."""
    while reader.more:
        if reader.take("PARTITION", "BY"):
            table.notes.append("partitions were dropped")
            return
        word = reader.next().word
        if word in ("DEFAULT", "") or (word == "WITH" and reader.take("SYSTEM", "VERSIONING")):
            continue
        if word == "CHARACTER" and reader.take("SET"):
            word = "CHARSET"
        reader.mark(b"=")
        value = reader.group() if reader.peek().raw == b"(" else [reader.next()]
        _option(table, word, value[0], server)


def _option(table: Table, word: str, value: Token, server: Server) -> None:
    said = value.raw.decode("latin-1").strip("'`")
    if word == "ENGINE":
        table.engine = said
        if said.upper() in _REMOTE:
            raise UnknownDdl(f"engine {said}")
        if said.upper() not in _ENGINES:
            table.notes.append(f"engine {said} became InnoDB")
    elif word == "CHARSET":
        table.charset = server.charset(said)
    elif word == "COLLATE":
        table.collation = server.collation(said)
        if table.collation != said.lower():
            table.notes.append(f"collation {said} became {table.collation}")
    elif word == "COMMENT" and value.kind == "text":
        table.comment = value.raw
    elif word == "AUTO_INCREMENT" and value.kind == "number":
        table.next_number = value.raw
    elif "DIRECTORY" in said.upper() or word in ("TABLESPACE", "CONNECTION", "UNION"):
        table.notes.append(f"{word.lower()} was dropped")


class _Part:
    """One line of a definition's body."""

    def __init__(self, table: Table, reader: Reader, server: Server, exact: bool) -> None:
        self._table, self._reader, self._server, self._exact = table, reader, server, exact

    def read(self) -> None:
        """Add what the line says to the table."""
        reader = self._reader
        first = reader.peek()
        if first.kind == "name":
            self._column()
        elif first.word == "CONSTRAINT":
            reader.next()
            name = reader.next().name if reader.peek().kind == "name" else b""
            self._constraint(name)
        elif first.word in ("CHECK", "FOREIGN"):
            self._constraint(b"")
        elif first.word == "PERIOD":
            self._table.notes.append("system versioning was dropped")
        else:
            self._key()

    def _constraint(self, name: bytes) -> None:
        reader, label = self._reader, b"CONSTRAINT " + quoted(name) + b" " if name else b""
        if reader.take("CHECK"):
            self._table.checks.append(label + b"CHECK " + _expression(reader.group()))
        elif reader.take("FOREIGN", "KEY"):
            self._foreign_key(name, label)
        else:
            raise UnknownDdl(f"constraint {reader.peek().shown}")

    def _foreign_key(self, name: bytes, label: bytes) -> None:
        reader = self._reader
        columns = b",".join(quoted(part[0].name) for part in separated(reader.group()))
        if not reader.take("REFERENCES"):
            raise UnknownDdl("a foreign key without a table")
        other = reader.next().name
        if reader.mark(b"."):
            self._table.notes.append("a foreign key into another database was dropped")
            return
        others = b",".join(quoted(part[0].name) for part in separated(reader.group()))
        actions = [token.word for token in iter(lambda: reader.next() if reader.more else None, None)]
        if not set(actions) <= {"ON", "DELETE", "UPDATE", "CASCADE", "RESTRICT", "SET", "NULL", "NO", "ACTION", "DEFAULT"}:
            raise UnknownDdl("a foreign key's action")
        sql = (
            label
            + b"FOREIGN KEY ("
            + columns
            + b") REFERENCES "
            + quoted(other)
            + b" ("
            + others
            + b") "
            + " ".join(actions).encode()
        )
        self._table.foreign_keys.append(ForeignKey(name, other, sql.strip()))

    def _key(self) -> None:
        reader = self._reader
        kind = next((word for word in ("PRIMARY", "UNIQUE", "FULLTEXT", "SPATIAL") if reader.take(word)), "")
        if not (reader.take("KEY") or reader.take("INDEX")):
            raise UnknownDdl(reader.peek().shown)
        name = reader.next().name if reader.peek().kind == "name" else b""
        parts = separated(reader.group())
        if any(part[0].kind != "name" for part in parts):
            self._table.notes.append("an index on an expression was dropped")
            return
        columns = b",".join(_key_part(part) for part in parts)
        using = b" USING HASH" if reader.take("USING", "HASH") else b""
        sql = (kind + " KEY ").lstrip().encode() + (quoted(name) + b" " if name else b"") + b"(" + columns + b")" + using
        unique = kind in ("PRIMARY", "UNIQUE")
        self._table.keys.append(Key(name or b"PRIMARY", tuple(part[0].name for part in parts), sql, unique))

    def _column(self) -> None:
        reader = self._reader
        name = reader.next().name
        kind = reader.next()
        if kind.word not in _TYPES:
            raise UnknownDdl(f"column type {kind.shown}")
        made = [quoted(name), kind.word.lower().encode()]
        if kind.word == "DOUBLE":
            reader.take("PRECISION")
        if reader.peek().raw == b"(":
            made[-1] += _arguments(reader.group())
        while reader.more:
            clause = self._clause(name)
            if clause is None:
                self._table.notes.append(f"column {name.decode('utf-8', 'replace')} of system versioning was dropped")
                return
            if clause:
                made.append(clause)
        self._table.columns[name] = b" ".join(made)

    def _clause(self, column: bytes) -> bytes | None:
        """One clause of a column, empty if it is dropped; None if the whole column is."""
        reader = self._reader
        clauses: list[tuple[tuple[str, ...], Callable[[], bytes | None]]] = [
            (("NOT", "NULL"), lambda: b"NOT NULL"),
            (("CHARACTER", "SET"), self._charset),
            (("CHARSET",), self._charset),
            (("COLLATE",), lambda: b"COLLATE " + self._collation(column).encode()),
            (("DEFAULT",), lambda: b"DEFAULT " + _default(reader)),
            (("ON", "UPDATE"), lambda: b"ON UPDATE " + _default(reader)),
            (("COMMENT",), lambda: b"COMMENT " + _string(reader.next())),
            (("CHECK",), lambda: b"CHECK " + _expression(reader.group())),
            (("GENERATED", "ALWAYS", "AS"), self._generated),
            (("AS",), self._generated),
        ]
        read = next((read for words, read in clauses if reader.take(*words)), None)
        return read() if read is not None else self._plain(column)

    def _charset(self) -> bytes:
        return b"CHARACTER SET " + self._server.charset(self._reader.next().raw.decode("latin-1")).encode()

    def _generated(self) -> bytes | None:
        reader = self._reader
        if reader.take("ROW"):
            return None
        made = b"GENERATED ALWAYS AS " + _expression(reader.group())
        kept = reader.take("STORED") or reader.take("PERSISTENT")
        if not kept:
            reader.take("VIRTUAL")
        return made + (b" STORED" if kept else b" VIRTUAL")

    def _plain(self, column: bytes) -> bytes:
        reader = self._reader
        token = reader.next()
        word = token.word
        if word == "AUTO_INCREMENT":
            self._table.automatic = column
        if word in ("UNSIGNED", "ZEROFILL", "NULL", "AUTO_INCREMENT", "INVISIBLE"):
            return word.encode()
        if word in ("COLUMN_FORMAT", "STORAGE", "SRID", "COMPRESSED", "REF_SYSTEM_ID", "SIGNED", "VISIBLE", "WITHOUT"):
            if word in ("COLUMN_FORMAT", "STORAGE", "SRID") or reader.mark(b"="):
                reader.next()
            if word == "WITHOUT":
                reader.take("SYSTEM", "VERSIONING")
            return b""
        raise UnknownDdl(f"column attribute {token.shown}")

    def _collation(self, column: bytes) -> str:
        name = self._reader.next().raw.decode("latin-1")
        chosen = self._server.collation(name)
        if chosen != name.lower():
            self._table.mapped.add(column)
            if self._exact:
                return chosen.partition("_")[0] + "_bin"
        return chosen


def _string(token: Token) -> bytes:
    if token.kind != "text":
        raise UnknownDdl(f"a string was expected, not {token.shown}")
    return token.raw


def _arguments(group: Sequence[Token]) -> bytes:
    """A type's arguments: numbers, or an ENUM's and SET's strings."""
    for part in separated(group):
        if len(part) != 1 or part[0].kind not in ("number", "text"):
            raise UnknownDdl("a type's argument")
    return b"(" + b",".join(part[0].raw for part in separated(group)) + b")"


def _key_part(part: Sequence[Token]) -> bytes:
    reader = Reader(part)
    made = quoted(reader.next().name)
    if reader.peek().raw == b"(":
        made += _arguments(reader.group())
    if reader.take("DESC"):
        made += b" DESC"
    return made


def _default(reader: Reader) -> bytes:
    """A literal, NULL, CURRENT_TIMESTAMP, or an expression of allowed words."""
    if reader.peek().raw == b"(":
        return _expression(reader.group())
    sign = b"-" if reader.mark(b"-") else b""
    token = reader.next()
    if token.kind in ("text", "number"):
        return sign + token.raw
    if token.kind != "word" or sign:
        raise UnknownDdl(f"default {token.shown}")
    if token.word.startswith("_") and reader.peek().kind == "text":  # _utf8mb4'…'
        return token.raw + reader.next().raw
    call = [token, *reader.group()] if reader.peek().raw == b"(" else [token]
    if len(call) == 1 and token.word not in ("NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP"):
        raise UnknownDdl(f"default {token.shown}")
    return _expression(call)


def _expression(group: Sequence[Token]) -> bytes:
    for token in group:
        if token.word in _NOT_IN_EXPRESSIONS or token.raw == b":=":
            raise UnknownDdl(f"{token.shown} in an expression")
    return text(group)
