"""What is told of a table that was written: rows, sums to compare by, and what the rewriter did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wpclone.wordpress.proof import Place, Proof, shares

MOST_LISTED = 200
"""Places left that are listed for all tables together."""


@dataclass(frozen=True)
class TableCopied:
    """A copied table: rows written, bytes read, the CRC-32s of its values as they were read and of its SQL as it was written, in
    key order; and what the rewriter did."""

    name: str
    rows: int
    bytes: int
    read_checksum: int
    checksum: int
    proof: Proof

    @property
    def rewritten(self) -> int:
        """Addresses rewritten."""
        return self.proof.rewritten

    def to_json(self, places: Sequence[Place]) -> dict[str, Any]:
        """As plain objects; of the places left with only these."""
        return {
            "name": self.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "read_checksum": f"{self.read_checksum:08x}",
            "checksum": f"{self.checksum:08x}",
            "rewritten": self.rewritten,
            "seen": self.proof.seen,
            "changed": dict(self.proof.changed),
            "left": dict(self.proof.left),
            "places": [place._asdict() for place in places],
        }


def tables_json(tables: Sequence[TableCopied]) -> list[dict[str, Any]]:
    """All of them as plain objects; places left are cut to `MOST_LISTED`, of which each table and reason has its share."""
    listed = shares({table.name: table.proof.places for table in tables}, MOST_LISTED)
    return [table.to_json(listed[table.name]) for table in tables]
