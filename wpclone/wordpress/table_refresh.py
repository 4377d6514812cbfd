"""Looks again at tables that may have changed while they were copied, and reads the changed ranges again.

The source's database says when each table was changed last. Those changed since they were read are compared range by range with
what was read of them, at the source, and only what differs is sent. A look that fits one request sees one moment of the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from wpclone.wordpress.agent.asked import Asked
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import RowsFrame
from wpclone.wordpress.control import Control, Cursor
from wpclone.wordpress.left_places import add as add_left
from wpclone.wordpress.left_places import forget as forget_left
from wpclone.wordpress.row_sql import Chunk
from wpclone.wordpress.table_definition import quoted
from wpclone.wordpress.table_plan import TablePlan
from wpclone.wordpress.table_ranges import NOTHING, Range, joined, replaced
from wpclone.wordpress.target import Connection, literal

_LOOKS = 3
#: UPDATE_TIME has whole seconds, and is written a moment after the commit.
_SLACK_SECONDS = 2
#: A table that can only be read again as a whole is not, when it is larger: it would be one transaction.
_WHOLE_BYTES = 256 << 20

Chunker = Callable[[TablePlan, RowsFrame], Awaitable[Chunk]]
Writer = Callable[[TablePlan, bytes], Awaitable[None]]


@dataclass(frozen=True)
class _Place:
    """A range of a table: its number there, and the keys around it. `number` is that of ranges for what came behind the last."""

    plan: TablePlan
    number: int
    after: tuple[bytes, ...] | None
    until: tuple[bytes, ...] | None
    known: Range

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the table."""
        return self.after is None and self.until is None


@dataclass
class Refresher:
    """One attempt's looks. `chunk` makes SQL of a frame, `write` runs one statement for a table."""

    agent: AgentClient
    rows: Connection
    control: Control
    plans: Mapping[bytes, TablePlan]
    cursors: MutableMapping[bytes, Cursor]
    chunk: Chunker
    write: Writer
    changed: set[bytes] = field(default_factory=set)

    async def settle(self) -> set[bytes]:
        """Bring the copy to one moment of the source; the tables that it could not be done for."""
        since = {name: self.cursors[name].since for name in self.plans}
        now, times = await self.agent.changes()
        hot = {name for name in self.plans if _may_have_changed(times.get(name), since[name])}
        beyond = {name for name in hot if not _can_be_read_again(self.plans[name], self.cursors[name])}
        hot -= beyond
        unsettled = hot
        for _ in range(_LOOKS):
            if not hot:
                return beyond
            since |= dict.fromkeys(hot, now)
            requests, differing = await self._look(hot)
            now, times = await self.agent.changes()
            again = {name for name in self.plans if name not in beyond and _may_have_changed(times.get(name), since[name])}
            # Nothing differs: all was at the look's beginning as it was read before. One request: all is as of its snapshot.
            one_moment = not differing or (requests <= 1 and all(self.plans[name].is_transactional for name in hot))
            if one_moment and again <= hot:
                return beyond
            unsettled, hot = differing | (again - hot), again
        return beyond | unsettled

    async def _look(self, names: set[bytes]) -> tuple[int, set[bytes]]:
        """Compare these tables' ranges with the source's and write what differs; how many requests it took, which differed."""
        places = [place for name in sorted(names) for place in self._places(name)]
        requests, differing, new = 0, set[bytes](), NOTHING
        try:
            async with aclosing(self.agent.rows([_asked(place) for place in places])) as stream:
                async for frame, number in stream:
                    requests, place = number, places[frame.index]
                    if frame.same or (frame.last and not frame.rows and new is NOTHING and not place.known.rows):
                        continue
                    if new is NOTHING:
                        differing.add(place.plan.name)
                        await self.rows.begin()
                        await self.write(place.plan, b"DELETE FROM " + quoted(place.plan.name) + _where(place))
                        await forget_left(self.rows, place.plan.name, None if place.is_whole else place.number)
                        new = replace(NOTHING)
                    new = joined(new, await self._write(place, frame))
                    if frame.last:
                        await self._save(place, new)
                        new = NOTHING
        except BaseException:
            await self.rows.rollback()
            raise
        self.changed |= differing
        return requests, differing

    async def _write(self, place: _Place, frame: RowsFrame) -> Range:
        chunk = await self.chunk(place.plan, frame)
        for statement in chunk.statements:
            await self.write(place.plan, statement)
        await add_left(self.rows, place.plan.name, place.number, chunk.left)
        return chunk.range

    def _places(self, name: bytes) -> list[_Place]:
        plan, ranges = self.plans[name], self.cursors[name].ranges
        if not plan.has_ranges or any(one.until is None for one in ranges):
            return [_Place(plan, 0, None, None, self.cursors[name].whole)]
        keys = [one.key for one in ranges]
        found = [_Place(plan, i, keys[i - 1] if i else None, keys[i], one) for i, one in enumerate(ranges)]
        return [*found, _Place(plan, len(ranges), keys[-1] if keys else None, None, NOTHING)]

    async def _save(self, place: _Place, new: Range) -> None:
        """Commit a range written anew together with the cursor that says so."""
        cursor = self.cursors[place.plan.name]
        ranges = ((new,) if new.rows else ()) if place.is_whole else replaced(cursor.ranges, place.number, new)
        cursor = replace(cursor, ranges=ranges)
        await self.control.check(self.rows)
        await self.control.save(self.rows, {place.plan.name: cursor})
        await self.rows.commit()
        self.cursors[place.plan.name] = cursor


def _may_have_changed(at: int | None, since: int) -> bool:
    return at is None or at >= since - _SLACK_SECONDS


def _can_be_read_again(plan: TablePlan, cursor: Cursor) -> bool:
    return cursor.engine == "InnoDB" and (plan.has_ranges or cursor.size <= _WHOLE_BYTES)


def _asked(place: _Place) -> Asked:
    return replace(place.plan.asked, after=place.after, offset=0, until=place.until, known=place.known.known)


def _where(place: _Place) -> bytes:
    """The range's rows at the target."""
    keys, conditions = place.plan.asked.key, list[bytes]()
    if place.after is not None:
        conditions.append(_compared(keys, place.after, b">", b""))
    if place.until is not None:
        conditions.append(_compared(keys, place.until, b"<", b"="))
    return b" WHERE (" + b") AND (".join(conditions) + b")" if conditions else b""


def _compared(keys: Sequence[tuple[bytes, str]], values: Sequence[bytes], sign: bytes, equal: bytes) -> bytes:
    """(a, b) > (x, y), or <= with `equal`; as agent.php's Rows::compared."""
    (name, kind), value = keys[0], values[0]
    column = quoted(name)
    text = literal(value) if kind in ("int", "ascii") or not value else b"x'" + value.hex().encode() + b"'"
    if kind not in ("int", "ascii", "binary") and value:
        text = b"_" + kind.encode() + b" " + text
    if len(keys) == 1:
        return column + b" " + sign + equal + b" " + text
    rest = _compared(keys[1:], values[1:], sign, equal)
    return column + b" " + sign + b"= " + text + b" AND (" + column + b" " + sign + b" " + text + b" OR (" + rest + b"))"
