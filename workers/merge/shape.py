"""What a table looks like, as far as merging needs it: its columns, its key, and the SQL that hashes one of its rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_TEXTS = {"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "json", "geometry"}
"""Types whose values may be long: hashed one by one, so that no row is too long to be put together."""
_PLAIN = {
    "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year", "date", "time", "datetime",
    "timestamp",
}  # fmt: skip
"""Types whose values have no comma in their text."""
_FREE_TEXT = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
"""Types whose values may hold addresses."""


@dataclass(frozen=True)
class Column:
    """A column whose values are stored, with its type's name."""

    name: str
    type: str

    @property
    def is_text(self) -> bool:
        """Whether its values may hold addresses."""
        return self.type in _FREE_TEXT


@dataclass(frozen=True)
class Shape:
    """A table's stored columns in order, and the columns of its primary key (empty: it has none)."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """Its columns' names."""
        return tuple(column.name for column in self.columns)


async def shape_of(cursor: Any, schema: str, table: str) -> Shape | None:
    """The table's shape; None when there is no such table. Generated columns follow from others and are left out."""
    await cursor.execute(
        "SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_KEY = 'PRI', COALESCE(GENERATION_EXPRESSION, '') FROM"
        " information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    found = [(str(name), str(kind), bool(is_key), bool(generated)) for name, kind, is_key, generated in await cursor.fetchall()]
    if not found:
        return None
    columns = tuple(Column(name, kind) for name, kind, _, generated in found if not generated)
    return Shape(columns, tuple(name for name, _, is_key, _ in found if is_key))


def row_hash(columns: Sequence[Column], *, alias: str, leave_out: Collection[str] = ()) -> str:
    """The SQL of one row's hash, BINARY(16): equal for rows whose values are the same bytes, and for no others."""
    parts = ",".join(_part(column, alias) for column in columns if column.name not in leave_out)
    return f"UNHEX(MD5(CONCAT({parts or chr(39) * 2})))"


def _part(column: Column, alias: str) -> str:
    value = exact(column, alias)
    if column.type in _TEXTS:
        return f"IFNULL(MD5({value}),'-')"
    if column.type in _PLAIN:
        return f"IFNULL({value},'-'),','"
    # A length before each value: 1,23 is not 12,3. Bytes, because columns of different collations cannot be put together.
    return f"IFNULL(CONCAT(LENGTH(CAST({value} AS BINARY)),':',CAST({value} AS BINARY)),'-')"


def exact(column: Column, alias: str) -> str:
    """The SQL of a column's value as its text is exact: a FLOAT is printed with six digits, as a DOUBLE with all it has."""
    value = f"{alias}.{quoted(column.name)}"
    return f"({value} + 0e0)" if column.type == "float" else value


def quoted(name: str) -> str:
    """An identifier as SQL takes it, also in a statement that is given parameters."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def among(values: Iterable[bytes | str]) -> str:
    """Values as a list in parentheses, compared byte for byte. The driver writes neither lists nor bytes."""
    return "(" + ",".join(f"X'{(value.encode() if isinstance(value, str) else value).hex()}'" for value in values) + ")"


def full(schema: str, table: str) -> str:
    """A table of a schema as SQL takes it."""
    return f"{quoted(schema)}.{quoted(table)}"
