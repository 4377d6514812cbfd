"""How far a copy is, in the units people ask about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What is done of what is there: bytes, rows, files. Totals are the preflight's and may be passed or missed by a little."""

    bytes_done: int = 0
    bytes_total: int = 0
    rows_done: int = 0
    rows_total: int = 0
    files_done: int = 0
    files_total: int = 0

    @property
    def fraction(self) -> float:
        """Between 0 and 1, by bytes; 1.0 when there is nothing to do."""
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else 1.0


#: Called often and cheaply from the event loop's thread; the callee throttles.
Progress = Callable[[Counts], None]
