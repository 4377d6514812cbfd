"""Ranges of a table's rows in key order: what was read of each, so that a later look tells which of them changed.

Sums are CRC-32s that can be joined, so that they do not depend on where one frame or range ended and the next began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wpclone.wordpress.proof import MOST_PLACES, MOST_PLACES_LATER, Proof, first, together

_RANGE_BYTES = 8 << 20
_MOST_RANGES = 256
NOTHING_PROVED = Proof()


@dataclass(frozen=True)
class Range:
    """Rows up to and with the key `until` (hexadecimal; None in a table without a key).

    `size` counts the values' bytes, `cells` the values. `lengths` and `values` are the sums over them as the source sent them,
    `sql` over the `sql_size` bytes of SQL they became. `proof`: what the rewriter did.
    """

    until: tuple[str, ...] | None
    rows: int
    cells: int
    size: int
    lengths: int
    values: int
    sql: int
    sql_size: int
    proof: Proof = NOTHING_PROVED

    @property
    def key(self) -> tuple[bytes, ...] | None:
        """The last key, as bytes."""
        return None if self.until is None else tuple(bytes.fromhex(value) for value in self.until)

    @property
    def known(self) -> tuple[int, int, int]:
        """What the source is asked to compare."""
        return self.rows, self.lengths, self.values

    @property
    def rewritten(self) -> int:
        """Addresses rewritten."""
        return self.proof.rewritten

    @property
    def left(self) -> Mapping[str, int]:
        """What the rewriter left, by reason."""
        return self.proof.left

    def to_json(self) -> list[Any]:
        """As a list, because there are many."""
        sums = [self.rows, self.cells, self.size, self.lengths, self.values, self.sql, self.sql_size]
        return [self.until, *sums, self.proof.to_json()]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Range:
        """The inverse of `to_json`."""
        until, *sums = value[:-1]
        return cls(*(None if until is None else tuple(until), *sums, Proof.from_json(value[-1])))


NOTHING = Range(None, 0, 0, 0, 0, 0, 0, 0)


def joined(one: Range, other: Range) -> Range:
    """Two neighbours as one."""
    return Range(
        until=other.until if other.until is not None else one.until,
        rows=one.rows + other.rows,
        cells=one.cells + other.cells,
        size=one.size + other.size,
        lengths=joined_sums(one.lengths, other.lengths, 4 * other.cells),
        values=joined_sums(one.values, other.values, other.size),
        sql=joined_sums(one.sql, other.sql, other.sql_size),
        sql_size=one.sql_size + other.sql_size,
        proof=together(one.proof, other.proof),
    )


def extended(ranges: tuple[Range, ...], more: Range, *, keyed: bool) -> tuple[Range, ...]:
    """The ranges with further rows behind them: in the last range while it is small, and in one range if there is no key."""
    if not more.rows:
        return ranges
    if not ranges:
        return (more,)
    most = max(_RANGE_BYTES, sum(one.size for one in ranges) // _MOST_RANGES)
    if not keyed or ranges[-1].size + more.size <= most:
        last = joined(ranges[-1], more)
        few = first(last.proof.places, MOST_PLACES if len(ranges) == 1 else MOST_PLACES_LATER)
        return (*ranges[:-1], replace(last, proof=replace(last.proof, places=few)))
    few = first(more.proof.places, MOST_PLACES_LATER)
    return (*ranges, replace(more, proof=replace(more.proof, places=few)))


def replaced(ranges: tuple[Range, ...], place: int, new: Range) -> tuple[Range, ...]:
    """The ranges with other rows in one of them; `place` may be behind the last."""
    if place >= len(ranges):
        return (*ranges, new) if new.rows else ranges
    # The range ends where it ended, whatever the last row in it is now, so that the next one begins there.
    last = place == len(ranges) - 1
    new = new if last and new.rows else replace(new, until=ranges[place].until)
    return (*ranges[:place], new, *ranges[place + 1 :])


# CRC-32s of parts give the CRC-32 of the whole by multiplying polynomials over GF(2), as zlib's crc32_combine does.
_POLYNOMIAL = 0xEDB88320


def _times(a: int, b: int) -> int:
    mask, product = 1 << 31, 0
    while True:
        if a & mask:
            product ^= b
            if not a & (mask - 1):
                return product
        mask >>= 1
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1


def _powers() -> list[int]:
    """x to the power of 2 to the power of n, for n from 0 to 31."""
    found = [1 << 30]
    while len(found) < 32:
        found.append(_times(found[-1], found[-1]))
    return found


_POWERS = _powers()


def joined_sums(one: int, other: int, other_size: int) -> int:
    """The CRC-32 of two byte strings one after the other, by theirs and the second's length."""
    shift, place = 1 << 31, 3
    while other_size:
        if other_size & 1:
            shift = _times(_POWERS[place & 31], shift)
        other_size >>= 1
        place += 1
    return _times(shift, one) ^ other
