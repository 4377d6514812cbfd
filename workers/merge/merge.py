"""Merges a clone's tables with the target's: which tables change there at all, how, and what is in conflict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from workers.merge.base import BaseTable, load_base, whole_mark
from workers.merge.carried import Carried
from workers.merge.carry import StagedTables, carry_out
from workers.merge.decide import Counts, Owned, Policy, Sides, conflicts, count, decide, order_types, overrule, sides
from workers.merge.rules import in_order, rule_of
from workers.merge.shape import Shape, shape_of
from wpclone.wordpress.row_sql import Rewriter

MOST_LISTED = 200
"""Conflicts a result lists; all are counted."""

DECISIONS = "wpclone_d_"
"""How the tables of decisions in the scratch schema begin."""

CARRIED = "wpclone_c"
"""How the tables of carried keys begin; the name of the table of decisions follows."""

_NOTHING = Counts(0, 0, 0, 0, 0)


class How(StrEnum):
    """What a restore does with a table."""

    NOTHING = "nothing"
    ROWS = "rows"
    WHOLE = "whole"


@dataclass(frozen=True)
class Places:
    """Where the three versions are: schemas of one server. `base` is empty when there is none, or another site's."""

    clone: str
    base: str
    now: str
    clone_prefix: str
    target_prefix: str


@dataclass(frozen=True)
class Business:
    """What of a site is the target's own business, as predicates on post types and option names."""

    is_order: Callable[[bytes], bool]
    is_targets_option: Callable[[bytes], bool]


@dataclass(frozen=True)
class MergedTable:
    """What becomes of one table. `name` is the target's, `source` the clone's; `note` says what is special."""

    name: str
    source: str
    how: How
    counts: Counts = _NOTHING
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return {"name": self.name, "source": self.source, "how": self.how.value, **asdict(self.counts), "note": self.note}


@dataclass(frozen=True)
class Merged:
    """What becomes of all tables; `conflicts` are the first ones."""

    tables: tuple[MergedTable, ...]
    conflicts: tuple[dict[str, str], ...]
    has_base: bool

    @property
    def conflict_count(self) -> int:
        """How many conflicts there are."""
        return sum(table.counts.conflicts for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return {
            "tables": [table.to_json() for table in self.tables],
            "conflicts": list(self.conflicts),
            "conflict_count": self.conflict_count,
            "has_base": self.has_base,
        }


@dataclass
class Merge:
    """One merge on one connection. `decide` first, for all tables or anew for some; then `carry_out` for what was staged."""

    cursor: Any
    places: Places
    policy: Policy
    business: Business
    _sides: dict[str, Sides] = field(default_factory=dict)

    async def decide(self, names: Sequence[str]) -> Merged:
        """Decide on the tables with these names (prefixes removed)."""
        base = await load_base(self.cursor, self.places.base) if self.places.base else None
        owned = await self._owned()
        tables, listed = [], list[dict[str, str]]()
        for name in in_order(list(names)):
            table = await self._one(name, base, owned)
            tables.append(table)
            if table.counts.conflicts and table.how is not How.WHOLE and name in self._sides:
                listed += await conflicts(self.cursor, self._sides[name], MOST_LISTED - len(listed))
            elif table.counts.conflicts:
                listed.append({"table": table.name, "key": "", "conflict": table.note, "taken": self._taken()})
        return Merged(tuple(tables), tuple(listed[:MOST_LISTED]), base is not None)

    async def carry_out(self, name: str, target: StagedTables, rewriter: Rewriter) -> None:
        """Bring a staged table to what was decided on its rows. A table taken whole stays as staged. Repeatable, also after new
        decisions: keys that an earlier call carried are remembered, and get the target's present rows."""
        known = self._sides.get(name)
        if known is None:
            return
        carried = Carried(self.cursor, self.places.now, CARRIED + decisions_of(name))
        await carry_out(self.cursor, known, target, rewriter, carried)

    async def _one(self, name: str, base: dict[str, BaseTable] | None, owned: Owned | None) -> MergedTable:
        source, target, rule = self.places.clone_prefix + name, self.places.target_prefix + name, rule_of(name)
        self._sides.pop(name, None)
        shape = await shape_of(self.cursor, self.places.clone, source)
        now = await shape_of(self.cursor, self.places.now, target)
        if shape is None:
            return MergedTable(target, source, How.NOTHING, note="the clone has no such table")
        if now is None:
            return MergedTable(
                target, source, How.WHOLE, Counts(await self._rows(source), 0, 0, 0, 0), "the target has no such table"
            )
        before = (base or {}).get(source)
        known = sides(
            name, (self.places.clone, source), (self.places.now, target), (self.places.now, decisions_of(name)),
            shape=shape, now_shape=now, base=(self.places.base, before) if before is not None else None, rule=rule,
        )  # fmt: skip
        if known is None:
            return await self._whole(source, target, shape, now, before)
        self._sides[name] = known
        parent = self._sides.get(rule.parent[1]) if rule.parent is not None else None
        await decide(self.cursor, known, self.policy, parent=parent, owned=owned)
        if name == "options":
            await overrule(self.cursor, known, self.business.is_targets_option)
        counts = await count(self.cursor, known)
        return MergedTable(target, source, How.ROWS if counts.is_touched else How.NOTHING, counts)

    async def _whole(self, source: str, target: str, shape: Shape, now: Shape, before: BaseTable | None) -> MergedTable:
        """A table whose rows cannot be told apart or compared: it is the clone's or the target's as a whole."""
        if before is None:
            return MergedTable(target, source, How.WHOLE, Counts(await self._rows(source), 0, 0, 0, 0), "replaced as a whole")
        if before.mark and shape.names() == now.names() == before.columns:
            if await whole_mark(self.cursor, self.places.clone, source, shape) == before.mark:
                return MergedTable(target, source, How.NOTHING)
            if await whole_mark(self.cursor, self.places.now, target, now) == before.mark:
                rows = await self._rows(source)
                return MergedTable(target, source, How.WHOLE, Counts(rows, 0, 0, 0, 0), "it has no key: replaced as a whole")
            note = "it has no key, and both sides changed it"
        else:
            note = "its columns are not the same on both sides"
        how = How.WHOLE if self.policy is Policy.TAKE_CLONE else How.NOTHING
        return MergedTable(target, source, how, Counts(0, 0, 0, 0, 1), note)

    async def _rows(self, source: str) -> int:
        await self.cursor.execute(
            "SELECT COALESCE(SUM(TABLE_ROWS), 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (self.places.clone, source),
        )
        return int((await self.cursor.fetchone())[0])

    async def _owned(self) -> Owned | None:
        clone = (self.places.clone, self.places.clone_prefix + "posts")
        now = (self.places.now, self.places.target_prefix + "posts")
        for schema, table in (clone, now):
            if await shape_of(self.cursor, schema, table) is None:
                return None
        return Owned(clone, now, await order_types(self.cursor, (clone, now), self.business.is_order))

    def _taken(self) -> str:
        return "clone" if self.policy is Policy.TAKE_CLONE else "target"


def decisions_of(name: str) -> str:
    """The name of the table that holds the decisions on a table's rows."""
    return DECISIONS + hashlib.sha256(name.encode()).hexdigest()[:16]
