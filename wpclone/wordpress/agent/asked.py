"""What rows are asked for: a table from a key on, or a range of it only if it is not what is known of it already."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from wpclone.wordpress.agent import wire
from wpclone.wordpress.agent.wire import Piece, RowsFrame
from wpclone.wordpress.errors import Reason, SiteError


@dataclass(frozen=True)
class Asked:
    """A table to read rows of. `columns`: (name, `plain` | `float` | `bit` | `large`). `key`: (name, kind) of a unique key's
    columns, empty for none; `places`: where they are among the columns. `after` resumes behind a key, `offset` behind a number of
    rows, `within` in the large value of the next row's column at an offset. `until` is the last key wanted. `known` (rows and the
    sums of a RowsFrame) asks for the rows only if they are not that."""

    name: bytes
    columns: tuple[tuple[bytes, str], ...]
    key: tuple[tuple[bytes, str], ...]
    places: tuple[int, ...]
    average: int = 256
    after: tuple[bytes, ...] | None = None
    offset: int = 0
    until: tuple[bytes, ...] | None = None
    known: tuple[int, int, int] | None = None
    within: tuple[int, int] | None = None

    def json(self) -> dict[str, object]:
        """The table as the protocol asks for it."""
        asked: dict[str, object] = {
            "name": wire.encoded(self.name),
            "columns": [[wire.encoded(name), how] for name, how in self.columns],
            "key": [[wire.encoded(name), kind] for name, kind in self.key],
            "places": list(self.places),
            "average": self.average,
            "offset": self.offset,
        }
        for name, key in (("after", self.after), ("until", self.until)):
            if key is not None:
                asked[name] = [wire.encoded(value) for value in key]
        if self.known is not None:
            asked["known"] = [self.known[0], f"{self.known[1]:08x}", f"{self.known[2]:08x}"]
        if self.within is not None:
            asked["within"] = list(self.within)
        return asked


class LargeValues:
    """Values that come in parts, until the row they belong to."""

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        self._parts: dict[int, bytearray] = {}
        self._marks: dict[int, tuple[int, int]] = {}

    def add(self, piece: Piece) -> tuple[int, int]:
        """Take a part; where the next begins.

        Raises Damaged for a value that changed since its first part, SiteError(TARGET_DATABASE_REFUSED) for one that no database
        takes: what a source says of its values must not fill our memory.
        """
        if piece.total > wire.MOST_FRAME_BYTES:
            message = f"The site has a value of {piece.total / 1e6:,.0f} MB, more than any database takes at once (1 GiB)."
            raise SiteError(Reason.TARGET_DATABASE_REFUSED, message, transient=False)
        held = self._parts.setdefault(piece.column, bytearray())
        mark = self._marks.setdefault(piece.column, (piece.total, piece.code))
        is_next = len(held) == piece.offset and piece.offset + len(piece.data) <= piece.total
        if mark != (piece.total, piece.code) or not is_next:
            raise wire.Damaged("a large value changed while it was read")
        held += piece.data
        if len(held) == piece.total:
            self.values[piece.column] = bytes(held)
            if zlib.crc32(held) != piece.code:
                raise wire.Damaged("a large value changed while it was read")
        return piece.column, len(held)

    def forget(self) -> None:
        """The row is there, or is asked for anew."""
        self.values.clear()
        self._parts.clear()
        self._marks.clear()


def behind(asked: Asked, found: RowsFrame) -> Asked:
    """The rest of a table after a frame."""
    after = found.cursor if asked.key and found.cursor else None
    return replace(asked, after=after, offset=found.offset, known=None, within=None)
