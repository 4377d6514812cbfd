"""Carries decisions out at the target: its own rows into the staged tables, and the few rows that are neither side's whole."""

# ruff: noqa: S608 - statements are made of quoted names and our own constants; values are parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from workers.merge.carried import Carried, Key
from workers.merge.decide import Sides
from workers.merge.shape import exact, full, quoted
from wpclone.wordpress.row_sql import Rewriter

_KEYS = 2000
"""Keys a request: small enough for any host's limits."""
_ROWS = 50
"""Merged rows a request."""


class StagedTables(Protocol):
    """What a target does for us; `wpclone.wordpress.restore.target.RestoreTarget`."""

    async def carry(self, table: str, keys: Sequence[Key], *, by: Sequence[bytes] = (), omit: Sequence[bytes] = ()) -> int:
        """Make the staged rows with these keys what the live table has."""

    async def put(self, table: str, columns: Sequence[bytes], rows: Sequence[Sequence[bytes | None]]) -> None:
        """Replace staged rows by these."""


async def carry_out(cursor: Any, table: Sides, target: StagedTables, rewriter: Rewriter, carried: Carried) -> None:
    """Bring the staged table (the clone's rows) to what was decided."""
    own = await _keys(cursor, table, "verdict IN ('target', 'both') AND NOT (c <=> n)")
    own += await _derived(cursor, table, is_clones=False)
    earlier = await carried.keys()
    await carried.add(own)
    await _carry(table, target, list(dict.fromkeys([*earlier, *own])))
    await _renumbered(cursor, table, target, rewriter, carried)
    await _put_derived(cursor, table, target, rewriter)


async def _carry(table: Sides, target: StagedTables, keys: Sequence[Key]) -> None:
    by, omit = _names(table.key), [table.rule.number.encode()] if table.rule.key else []  # a primary key may order columns anew
    for start in range(0, len(keys), _KEYS):
        await target.carry(table.now[1], keys[start : start + _KEYS], by=by, omit=omit)


async def _renumbered(cursor: Any, table: Sides, target: StagedTables, rewriter: Rewriter, carried: Carried) -> None:
    """The clone's rows whose numbers the target gave to other rows, under new numbers."""
    if not table.rule.renumbers:
        return
    both = await _keys(cursor, table, "verdict = 'both'")
    number = quoted(table.key[0])
    await cursor.execute(
        f"SELECT GREATEST(COALESCE((SELECT MAX({number}) FROM {full(*table.clone)}), 0),"
        f" COALESCE((SELECT MAX({number}) FROM {full(*table.now)}), 0))", ()
    )  # fmt: skip
    last = int((await cursor.fetchone())[0])
    place = table.shape.names().index(table.key[0])
    for start in range(0, len(both), _ROWS):
        rows = await _rows(cursor, table, both[start : start + _ROWS], rewriter)
        for row in rows:
            last += 1
            row[place] = b"%d" % last
        await carried.add([(b"%d" % (last - n),) for n in range(len(rows))])
        await target.put(table.now[1], _names(table.shape.names()), rows)


async def _put_derived(cursor: Any, table: Sides, target: StagedTables, rewriter: Rewriter) -> None:
    """The clone's version of a row with the target's counts."""
    keys = await _derived(cursor, table, is_clones=True)
    places = [table.shape.names().index(name) for name in table.rule.derived]
    for start in range(0, len(keys), _ROWS):
        some = keys[start : start + _ROWS]
        rows = await _rows(cursor, table, some, rewriter)
        counts = {tuple(row[: len(table.key)]): row[len(table.key) :] for row in await _counts(cursor, table, some)}
        key_places = [table.shape.names().index(name) for name in table.key]
        for row in rows:
            for place, value in zip(places, counts[tuple(row[at] for at in key_places)], strict=True):
                row[place] = value
        await target.put(table.now[1], _names(table.shape.names()), rows)


async def _derived(cursor: Any, table: Sides, *, is_clones: bool) -> list[Key]:
    """Rows of both sides whose derived values differ: those that are the clone's by decision, or the others."""
    if not table.rule.derived:
        return []
    on = " AND ".join(f"y.{quoted(name)} = x.{quoted(name)}" for name in table.key)
    with_decision = " AND ".join(f"d.{quoted(name)} = x.{quoted(name)}" for name in table.key)
    differs = " OR ".join(f"NOT (x.{quoted(name)} <=> y.{quoted(name)})" for name in table.rule.derived)
    whose = "d.verdict = 'clone'" if is_clones else "(d.verdict IS NULL OR d.verdict <> 'clone')"
    await cursor.execute(
        f"SELECT {_cast('x', table.key)} FROM {full(*table.clone)} x JOIN {full(*table.now)} y ON {on}"
        f" LEFT JOIN {full(*table.decisions)} d ON {with_decision} WHERE ({differs}) AND {whose}", ()
    )  # fmt: skip
    return [tuple(bytes(part) for part in row) for row in await cursor.fetchall()]


async def _keys(cursor: Any, table: Sides, which: str) -> list[Key]:
    await cursor.execute(f"SELECT {_cast('d', table.key)} FROM {full(*table.decisions)} d WHERE {which}", ())
    return [tuple(bytes(part) for part in row) for row in await cursor.fetchall()]


async def _rows(cursor: Any, table: Sides, keys: Sequence[Key], rewriter: Rewriter) -> list[list[bytes | None]]:
    """The clone's rows with these keys, addresses rewritten to the target's."""
    values = ", ".join(f"CAST({exact(column, 'x')} AS BINARY)" for column in table.shape.columns)
    await cursor.execute(f"SELECT {values} FROM {full(*table.clone)} x WHERE {_among(table, keys)}", ())
    texts = {place for place, column in enumerate(table.shape.columns) if column.is_text}
    return [
        [_rewritten(value, rewriter) if place in texts else _plain(value) for place, value in enumerate(row)]
        for row in await cursor.fetchall()
    ]


async def _counts(cursor: Any, table: Sides, keys: Sequence[Key]) -> list[list[bytes | None]]:
    columns = (*table.key, *table.rule.derived)
    await cursor.execute(f"SELECT {_cast('x', columns)} FROM {full(*table.now)} x WHERE {_among(table, keys)}", ())
    return [[_plain(value) for value in row] for row in await cursor.fetchall()]


def _among(table: Sides, keys: Sequence[Key]) -> str:
    """Only tables with a key of one number have rows put: posts, terms and their meta."""
    return f"x.{quoted(table.key[0])} IN ({','.join(str(int(key[0])) for key in keys)})"


def _cast(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"CAST({alias}.{quoted(name)} AS BINARY)" for name in names)


def _names(names: Sequence[str]) -> list[bytes]:
    return [name.encode() for name in names]


def _plain(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _rewritten(value: Any, rewriter: Rewriter) -> bytes | None:
    plain = _plain(value)
    return rewriter.value(plain).value if plain and rewriter.could_match(plain) else plain
