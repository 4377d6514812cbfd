"""What the rewriter did to rows, counted. Exact over the whole copy: it is kept with the rows' range and committed with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOST_PLACES = 100
"""Places kept for a reason in a table, of those in its first rows…"""
MOST_PLACES_LATER = 3
"""… and in each further range of its rows: there may be hundreds. The counts are of all."""
_LONGEST_KEY = 120


class Place(NamedTuple):
    """Where something was left: the row's key (`ID=12`; empty in a table without one), the column, and why."""

    key: str
    column: str
    reason: str


@dataclass(frozen=True)
class Proof:
    """Of some rows: `seen` values that may hold addresses, `changed` ones by the format they were proved to have kept (text,
    serialized, json), addresses `rewritten`, remarks `left` by reason, and the first `places` of those."""

    seen: int = 0
    changed: Mapping[str, int] = field(default_factory=dict)
    rewritten: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    places: tuple[Place, ...] = ()

    def to_json(self) -> list[Any]:
        """As a list, because there are many."""
        return [self.seen, self.changed, self.rewritten, self.left, [list(place) for place in self.places]]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Proof:
        """The inverse of `to_json`."""
        seen, changed, rewritten, left, places = value
        return cls(seen, changed, rewritten, left, tuple(Place(*place) for place in places))


def together(one: Proof, other: Proof, *, most: int = MOST_PLACES) -> Proof:
    """Both; with `most` places a reason."""
    return Proof(
        one.seen + other.seen,
        sums(one.changed, other.changed),
        one.rewritten + other.rewritten,
        sums(one.left, other.left),
        first((*one.places, *other.places), most),
    )


def first(places: Iterable[Place], most: int) -> tuple[Place, ...]:
    """The first `most` places of each reason."""
    kept, counts = list[Place](), dict[str, int]()
    for place in places:
        counts[place.reason] = counts.get(place.reason, 0) + 1
        if counts[place.reason] <= most:
            kept.append(place)
    return tuple(kept)


def shares(places: Mapping[str, Sequence[Place]], most: int) -> dict[str, list[Place]]:
    """At most so many places of all tables: of each table and reason the first, then of each the second, and so on."""
    ranked = []
    for table, found in places.items():
        counts = dict[str, int]()
        for order, place in enumerate(found):
            counts[place.reason] = counts.get(place.reason, 0) + 1
            ranked.append((counts[place.reason], table, order, place))
    kept: dict[str, list[Place]] = {table: [] for table in places}
    for _, table, _, place in sorted(sorted(ranked)[:most], key=lambda one: one[2]):
        kept[table].append(place)
    return kept


def sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Two counts added."""
    added = dict(one)
    for name, count in other.items():
        added[name] = added.get(name, 0) + count
    return added


def key_text(names: Sequence[bytes], values: Sequence[bytes | None]) -> str:
    """A row's key for people."""
    texts = (_shown(name) + "=" + ("NULL" if value is None else _shown(value)) for name, value in zip(names, values, strict=True))
    return ", ".join(texts)[:_LONGEST_KEY]


def _shown(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else "0x" + value.hex()
