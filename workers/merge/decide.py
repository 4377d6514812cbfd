"""Whose version each row gets: rows that only one side changed are that side's, and true conflicts go by a declared policy.

Decisions are rows of a table beside the scratch copy of the target: one for each row that differs anywhere, so that what follows
(counting, listing, carrying) reads tables of the changes' size.
"""

# ruff: noqa: S608 - statements are made of quoted names and our own constants; values are parameters

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workers.merge.base import BaseTable, hash_of
from workers.merge.rules import NOISE, Rule
from workers.merge.shape import Shape, among, full, quoted


class Policy(StrEnum):
    """What becomes of a row that both sides changed, each in its own way."""

    ABORT = "abort"
    KEEP_TARGET = "keep_target"
    TAKE_CLONE = "take_clone"


@dataclass(frozen=True)
class Sides:
    """One table on all sides, as (schema, table), and what it looks like. `base` is None where nothing is known of before."""

    name: str
    clone: tuple[str, str]
    now: tuple[str, str]
    base: tuple[str, str] | None
    decisions: tuple[str, str]
    shape: Shape
    key: tuple[str, ...]
    compared: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True)
class Counts:
    """What merging one table does at the target, in rows; `kept` are changes the target made since, which survive."""

    inserted: int
    updated: int
    deleted: int
    kept: int
    conflicts: int

    @property
    def is_touched(self) -> bool:
        """Whether the target's table changes at all."""
        return bool(self.inserted or self.updated or self.deleted)


@dataclass(frozen=True)
class Owned:
    """Posts that are the target's own business, whatever the clone did with them: orders. `types` are their post types."""

    clone_posts: tuple[str, str]
    now_posts: tuple[str, str]
    types: tuple[str, ...]


def sides(
    name: str, clone: tuple[str, str], now: tuple[str, str], decisions: tuple[str, str], *, shape: Shape, now_shape: Shape,
    base: tuple[str, BaseTable] | None, rule: Rule,
) -> Sides | None:  # fmt: skip
    """The table on all sides; None when its rows cannot be told apart or compared: it has no key, or not the same columns."""
    key = rule.key or shape.key
    compared = base[1].columns if base is not None else shape.names()
    known = set(shape.names()) & set(now_shape.names())
    if not key or not {*compared, *key} <= known or (base is not None and (not base[1].place or base[1].key != key)):
        return None
    place = (base[0], base[1].place) if base is not None else None
    return Sides(name, clone, now, place, decisions, shape, key, tuple(compared), rule)


async def decide(cursor: Any, table: Sides, policy: Policy, *, parent: Sides | None, owned: Owned | None) -> None:
    """Fill the table's decisions anew. `parent` is the table its rows belong to, decided already, if that is merged too."""
    await _compare(cursor, table)
    await _judge(cursor, table, policy)
    if owned is not None and owned.types and table.rule.has_types:
        await _own(cursor, table, owned.types)
    if table.rule.parent is not None:
        is_of_posts = table.rule.parent[1] == "posts"
        await _follow_parents(cursor, table, table.rule.parent[0], parent, owned if is_of_posts else None)
        if table.rule.topic:
            await _same_topic(cursor, table, table.rule.parent[0], policy)


async def _compare(cursor: Any, table: Sides) -> None:
    """One row for each key whose content differs anywhere: hashes in the clone (c), the base (b) and the target now (n)."""
    keys = ", ".join(quoted(name) for name in table.key)
    hashed = hash_of(table.shape, table.rule, alias="x", only=table.compared)
    before = "wpclone_hash" if table.base is not None else hashed  # without a base the target counts as unchanged
    nothing = "CAST(NULL AS BINARY(16))"
    parts = (
        f"SELECT {keys}, {hashed} AS in_clone, {nothing} AS before_, {nothing} AS now_ FROM {full(*table.clone)} x",
        f"SELECT {keys}, {nothing}, {before}, {nothing} FROM {full(*(table.base or table.now))} x",
        f"SELECT {keys}, {nothing}, {nothing}, {hashed} FROM {full(*table.now)} x",
    )
    await cursor.execute(f"DROP TABLE IF EXISTS {full(*table.decisions)}", ())
    await cursor.execute(
        f"CREATE TABLE {full(*table.decisions)} (PRIMARY KEY ({keys}), verdict VARCHAR(8) NOT NULL DEFAULT '',"
        " conflict VARCHAR(24) NULL) ENGINE=InnoDB"
        f" SELECT {keys}, MAX(in_clone) AS c, MAX(before_) AS b, MAX(now_) AS n FROM ({' UNION ALL '.join(parts)}) u"
        f" GROUP BY {keys} HAVING NOT (c <=> b AND n <=> b)", ()
    )  # fmt: skip


async def _judge(cursor: Any, table: Sides, policy: Policy) -> None:
    await cursor.execute(
        f"UPDATE {full(*table.decisions)} SET conflict = CASE"
        " WHEN c <=> n OR b <=> n OR b <=> c THEN NULL WHEN b IS NULL THEN 'both inserted'"
        " WHEN c IS NULL THEN 'deleted in the clone' WHEN n IS NULL THEN 'deleted at the target' ELSE 'both changed' END,"
        " verdict = CASE WHEN c <=> n THEN 'same' WHEN b <=> n THEN 'clone' WHEN b <=> c THEN 'target' ELSE %s END",
        ("clone" if policy is Policy.TAKE_CLONE else "target",),
    )
    if table.rule.renumbers:
        await cursor.execute(
            f"UPDATE {full(*table.decisions)} SET verdict = 'both', conflict = NULL WHERE conflict = 'both inserted'", ()
        )


async def _own(cursor: Any, table: Sides, types: Sequence[str]) -> None:
    """The target's orders stay as they are, and the clone's never travel. A row of the clone that has an order's number in its
    way is told as a conflict, and the order stays whatever the policy: it is somebody's money."""
    on = " AND ".join(f"p.{quoted(name)} = d.{quoted(name)}" for name in table.key)
    update = f"UPDATE {full(*table.decisions)} d JOIN {{posts}} p ON {on} SET d.verdict = 'target', d.conflict = {{conflict}}"
    taken = "IF(d.c IS NULL OR d.c <=> d.b, NULL, 'the number of an order')"
    await cursor.execute(f"{update.format(posts=full(*table.now), conflict=taken)} WHERE p.post_type IN {among(types)}", ())
    await cursor.execute(f"{update.format(posts=full(*table.clone), conflict='NULL')} WHERE p.post_type IN {among(types)}", ())


async def _follow_parents(cursor: Any, table: Sides, column: str, parent: Sides | None, owned: Owned | None) -> None:
    """Rows that belong to a parent whose number means another thing on the other side follow it."""
    on = " AND ".join(f"x.{quoted(name)} = d.{quoted(name)}" for name in table.key)
    update = f"UPDATE {full(*table.decisions)} d JOIN {{side}} x ON {on} SET d.verdict = {{verdict}}, d.conflict = NULL WHERE "
    lost = []
    if parent is not None:
        numbers = f"x.{quoted(column)} IN (SELECT {quoted(parent.key[0])} FROM {full(*parent.decisions)} WHERE {{which}})"
        lost.append(numbers.format(which="verdict = 'target' AND (n IS NULL OR b IS NULL AND conflict IS NOT NULL)"))
        won = numbers.format(which="verdict = 'clone' AND conflict = 'both inserted'")
        await cursor.execute(update.format(side=full(*table.now), verdict="'clone'") + won + " AND d.c IS NULL", ())
    orders = among(owned.types) if owned is not None else ""
    for posts in (owned.now_posts, owned.clone_posts) if owned is not None and owned.types else ():
        lost.append(f"x.{quoted(column)} IN (SELECT ID FROM {full(*posts)} WHERE post_type IN {orders})")
    if not lost:
        return
    stays = "IF(d.c IS NULL OR d.n IS NULL, 'target', 'both')" if table.rule.renumbers else "'target'"
    condition = f"({' OR '.join(lost)}) AND NOT (d.c <=> d.n)"
    await cursor.execute(update.format(side=full(*table.now), verdict=stays) + condition, ())
    await cursor.execute(update.format(side=full(*table.clone), verdict="'target'") + condition, ())


async def _same_topic(cursor: Any, table: Sides, column: str, policy: Policy) -> None:
    """Two new rows that say something about the same topic of the same parent are one row, inserted twice."""
    topic, number, decisions = quoted(table.rule.topic), quoted(table.key[0]), full(*table.decisions)
    loser = "e.verdict = 'clone'" if policy is Policy.TAKE_CLONE else "d.verdict = 'target'"
    await cursor.execute(
        f"UPDATE {decisions} d JOIN {full(*table.clone)} x ON x.{number} = d.{number}"
        f" JOIN {full(*table.now)} y ON y.{quoted(column)} = x.{quoted(column)} AND y.{topic} <=> x.{topic}"
        f" JOIN {decisions} e ON e.{number} = y.{number} AND e.b IS NULL AND e.n IS NOT NULL"
        f" SET d.conflict = IF(d.c <=> e.n OR x.{topic} IN {among(NOISE)}, NULL, 'both inserted'), {loser}"
        " WHERE d.b IS NULL AND d.c IS NOT NULL AND d.verdict IN ('clone', 'both')",
        (),
    )


async def overrule(cursor: Any, table: Sides, is_targets: Callable[[bytes], bool]) -> None:
    """Leave to the target every row whose (one-column) key is its own business, without telling of conflicts."""
    key = quoted(table.key[0])
    await cursor.execute(f"SELECT CAST({key} AS BINARY) FROM {full(*table.decisions)} WHERE verdict <> 'same'", ())
    own = [bytes(name) for (name,) in await cursor.fetchall() if is_targets(bytes(name))]
    for start in range(0, len(own), 500):
        some = among(own[start : start + 500])
        update = f"UPDATE {full(*table.decisions)} SET verdict = 'target', conflict = NULL WHERE CAST({key} AS BINARY) IN {some}"
        await cursor.execute(update, ())


async def count(cursor: Any, table: Sides) -> Counts:
    """What the decisions amount to."""
    await cursor.execute(
        "SELECT COALESCE(SUM(verdict IN ('clone', 'both') AND c IS NOT NULL AND (n IS NULL OR verdict = 'both')), 0),"
        " COALESCE(SUM(verdict = 'clone' AND c IS NOT NULL AND n IS NOT NULL), 0),"
        " COALESCE(SUM(verdict = 'clone' AND c IS NULL AND n IS NOT NULL), 0),"
        " COALESCE(SUM(verdict IN ('target', 'both') AND NOT (n <=> b)), 0), COUNT(conflict)"
        f" FROM {full(*table.decisions)}", ()
    )  # fmt: skip
    return Counts(*(int(number) for number in await cursor.fetchone()))


async def conflicts(cursor: Any, table: Sides, most: int) -> list[dict[str, str]]:
    """The first conflicts: table, key, what happened, whose version is taken."""
    keys = ", ".join(f"CAST({quoted(name)} AS BINARY)" for name in table.key)
    await cursor.execute(
        f"SELECT conflict, verdict, {keys} FROM {full(*table.decisions)} WHERE conflict IS NOT NULL ORDER BY 3 LIMIT %s", (most,)
    )
    return [
        {
            "table": table.name,
            "key": ", ".join(bytes(part).decode("utf-8", "backslashreplace") for part in key),
            "conflict": str(conflict),
            "taken": str(verdict),
        }
        for conflict, verdict, *key in await cursor.fetchall()
    ]


async def order_types(cursor: Any, posts: Collection[tuple[str, str]], is_order: Callable[[bytes], bool]) -> tuple[str, ...]:
    """The post types among these posts tables that are orders."""
    found: set[str] = set()
    for schema, table in posts:
        await cursor.execute(f"SELECT DISTINCT CAST(post_type AS BINARY) FROM {full(schema, table)}", ())
        found |= {bytes(name).decode() for (name,) in await cursor.fetchall() if is_order(bytes(name))}
    return tuple(sorted(found))
