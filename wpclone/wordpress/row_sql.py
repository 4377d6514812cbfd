"""Turns frames of rows into the statements that write them, rewriting text on the way: once, in the stream, never in place.

Works column by column, because a comprehension over a column is several times faster than a loop over rows and columns.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wpclone.wordpress.active_plugins import without_agents
from wpclone.wordpress.agent.wire import Damaged, RowsFrame
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.file_rules import shown
from wpclone.wordpress.left_places import LeftPlace
from wpclone.wordpress.near_tables import Unfit
from wpclone.wordpress.proof import MOST_PLACES, Place, Proof, key_text
from wpclone.wordpress.table_plan import JSON, NUMBER, TEXT, Coded, Kind, TablePlan
from wpclone.wordpress.table_ranges import Range
from wpclone.wordpress.target import literal

_STATEMENT_BYTES = 1 << 20
# What a packet holds besides our SQL.
_HEADROOM = 1024
_AGENT = b'"wpc'
_JSON_HEAD, _JSON_TAIL = b"CONVERT(", b" USING utf8mb4)"
_BACKSLASH = 0x5C


class Remark(Protocol):
    """One place the rewriter left as it was."""

    @property
    def reason(self) -> str:
        """Why."""
        ...


class Rewritten(Protocol):
    """A value after rewriting; see wpclone.wordpress.rewrite.Result."""

    @property
    def value(self) -> bytes:
        """The bytes to write."""
        ...

    @property
    def rewritten(self) -> int:
        """How many addresses changed."""
        ...

    @property
    def left(self) -> Sequence[Remark]:
        """What was left and why."""
        ...

    @property
    def format(self) -> str:
        """What a changed value was proved to have stayed: text, serialized or json."""
        ...


class Rewriter(Protocol):
    """What moves the site's addresses; wpclone.wordpress.rewrite.Rewriter is one."""

    def could_match(self, raw: bytes, /) -> bool:
        """False if nothing in these bytes would change; may be asked of many values at once."""
        ...

    def value(self, raw: bytes, /) -> Rewritten:
        """One value, rewritten."""
        ...


@dataclass(frozen=True)
class Chunk:
    """A frame as SQL, and what is to be remembered of it. `left`: every place that the rewriter left in it."""

    statements: tuple[bytes, ...]
    range: Range
    left: tuple[LeftPlace, ...] = ()


def chunk(plan: TablePlan, frame: RowsFrame, rewriter: Rewriter | None, packet: int) -> Chunk:
    """The statements that write a frame's rows: none much larger than a megabyte unless it is one row, none larger than `packet`.

    Of a plan whose rows are there only those that rewriting changes; what is remembered is the same. Raises Damaged for a frame
    of another shape than the table's, SiteError(TARGET_DATABASE_REFUSED) for a value larger than a packet, Unfit for a changed
    key of a row that is there.
    """
    width = len(plan.columns)
    if frame.width != width or len(frame.values) != frame.rows * width:
        raise Damaged("rows of another width than their table's")
    counted = _Counted(frame, plan)
    wanted = rewriter if rewriter is not None and (plan.is_wide or rewriter.could_match(frame.raw)) else None
    source = frame.values
    if plan.has_options and _AGENT in frame.raw:
        source = [value and without_agents(value) for value in source]
        counted.moved |= {place // width for place, value in enumerate(source) if value is not frame.values[place]}
    columns = []
    for place, kind in enumerate(plan.kinds):
        counted.column = place
        columns.append(_column(source[place::width], kind, wanted, counted))
    rows = [b"(" + b",".join(values) + b")," for values in zip(*columns, strict=True)]
    whole = b"".join(rows)
    every = len(rows)
    if plan.is_there:
        if counted.has_moved_keys:
            raise Unfit(plan.name, "a key changed")
        moved = sorted(counted.moved)
        rows, columns = [rows[row] for row in moved], [[values[row] for row in moved] for values in columns]
    statements: list[bytes] = []
    for first, last in _groups(rows):
        group = whole if last - first == every else b"".join(rows[first:last])
        if len(plan.insert) + len(group) > packet - _HEADROOM:
            statements += in_packets(plan, [values[first] for values in columns], packet - _HEADROOM)
        else:
            statements.append(plan.insert + group[:-1])
    until = tuple(value.hex() for value in frame.cursor) if plan.asked.key and frame.cursor else None
    made = Range(until, frame.rows, frame.rows * width, frame.size, *frame.sums, zlib.crc32(whole), len(whole), counted.proof())
    return Chunk(tuple(statements), made, tuple(counted.every))


class _Counted:
    """Counts what is done to a frame's values, while `column` is worked on and `row` is the next of its rows. `moved`: the rows
    that are to become others."""

    def __init__(self, frame: RowsFrame, plan: TablePlan) -> None:
        self._frame, self._plan = frame, plan
        self.column = self.row = self.seen = self.rewritten = 0
        self.moved: set[int] = set()
        self.has_moved_keys = False
        self._changed: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._places: list[Place] = []
        self.every: list[LeftPlace] = []

    def count(self, result: Rewritten, *, is_changed: bool) -> None:
        """One value's result."""
        self.rewritten += result.rewritten
        if is_changed:
            self.moved.add(self.row)
            self.has_moved_keys |= self.column in self._plan.asked.places
            self._changed[str(result.format)] = self._changed.get(str(result.format), 0) + 1
        for reason, found in Counter(str(left.reason) for left in result.left).items():
            place = Place(self._key(), shown(self._plan.columns[self.column]), reason)
            self.every.append(LeftPlace(place, found))
            before = self._left.get(reason, 0)
            self._left[reason] = before + found
            self._places += [place] * min(found, max(0, MOST_PLACES - before))

    def _key(self) -> str:
        first = self.row * len(self._plan.columns)
        names = [name for name, _ in self._plan.asked.key]
        return key_text(names, [self._frame.values[first + place] for place in self._plan.asked.places])

    def proof(self) -> Proof:
        """All of it."""
        return Proof(self.seen, self._changed, self.rewritten, self._left, tuple(self._places))


def _column(values: Sequence[bytes | None], kind: Kind, rewriter: Rewriter | None, counted: _Counted) -> list[bytes]:
    if kind == NUMBER:
        return [b"NULL" if value is None else value if value.isdigit() else literal(value) for value in values]
    if kind in (TEXT, JSON) or isinstance(kind, Coded):
        counted.seen += len(values) - values.count(None)
        if rewriter is not None:
            values = _moved(values, kind, rewriter, counted)
    if kind == JSON:
        return [b"NULL" if value is None else _JSON_HEAD + literal(value) + _JSON_TAIL for value in values]
    return [b"NULL" if value is None else b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'" for value in values]


def _moved(values: Sequence[bytes | None], kind: Kind, rewriter: Rewriter, counted: _Counted) -> list[bytes | None]:
    moved: list[bytes | None] = []
    for counted.row, value in enumerate(values):
        if not value:
            moved.append(value)
        elif isinstance(kind, Coded):
            moved.append(_recoded(value, kind, rewriter, counted))
        else:
            moved.append(_rewritten(value, rewriter, counted))
    return moved


def _rewritten(value: bytes, rewriter: Rewriter, counted: _Counted) -> bytes:
    result = rewriter.value(value)
    if result.value is not value or result.left:
        counted.count(result, is_changed=result.value is not value)
    return result.value


def _recoded(value: bytes, kind: Coded, rewriter: Rewriter, counted: _Counted) -> bytes:
    """The value rewritten as PHP sees it, whose serialized lengths count the connection's bytes, not the column's."""
    try:
        text = value.decode(kind.column)
        seen = text.encode(kind.client)
        if text.encode(kind.column) != value:
            raise ValueError("ambiguous")
    except ValueError:
        return value if kind.wide else _rewritten(value, rewriter, counted)
    if not rewriter.could_match(seen):
        return value
    new = _rewritten(seen, rewriter, counted)
    return value if new == seen else new.decode(kind.client).encode(kind.column)


def _groups(rows: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where rows begin and end that together make a statement of about a megabyte."""
    start = size = 0
    for place, row in enumerate(rows):
        if size and size + len(row) > _STATEMENT_BYTES:
            yield start, place
            start, size = place, 0
        size += len(row)
    if start < len(rows):
        yield start, len(rows)


def in_packets(plan: TablePlan, values: Sequence[bytes], packet: int) -> list[bytes]:
    """Statements that write one row of SQL values without any being larger than `packet` bytes.

    Long values are put together in variables of the session, whose values may be as long as a packet each.
    """
    statements, short = list[bytes](), list[bytes]()
    for place, value in enumerate(values):
        if len(value) < packet // (2 * len(values)):
            short.append(value)
            continue
        is_json = value.startswith(_JSON_HEAD)
        text = value[len(_JSON_HEAD) : -len(_JSON_TAIL)] if is_json else value
        if len(text) - text.count(b"\\") // 2 > packet:
            name, size = shown(plan.name), f"{len(text) / 1e6:,.0f} MB"
            message = f"Table {name} has a value of {size}, more than the copy's database takes at once (max_allowed_packet)."
            raise SiteError(Reason.TARGET_DATABASE_REFUSED, message, table=name)
        variable = b"@wpclone_%d" % place
        statements.append(b"SET " + variable + b" = ''")
        statements += [
            b"SET " + variable + b" = CONCAT(" + variable + b", '" + part + b"')" for part in _parts(text[1:-1], packet // 2)
        ]
        short.append(_JSON_HEAD + variable + _JSON_TAIL if is_json else variable)
    freed = [statement for statement in statements if statement.endswith(b" = ''")]
    return [*statements, plan.insert + b"(" + b",".join(short) + b")", *freed]


def _parts(text: bytes, size: int) -> Iterator[bytes]:
    """An escaped text in parts, none ending within an escape."""
    at = 0
    while at < len(text):
        end = min(len(text), at + size)
        slashes = 0
        while end < len(text) and text[end - 1 - slashes] == _BACKSLASH:
            slashes += 1
        end += slashes % 2
        yield text[at:end]
        at = end
