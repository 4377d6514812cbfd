"""Plain text tables and amounts for people. Pure: values in, text out; no colours, so a pipe gets what a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, each column as wide as its widest cell; the last column is not padded."""
    table = [[clean(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)


def pairs(values: Sequence[tuple[str, str]]) -> str:
    """One `name  value` a line; pairs without a value are left out."""
    kept = [(name, clean(value)) for name, value in values if value]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in kept)


def clean(text: str) -> str:
    """Text that cannot move the cursor or break a line: it may come from somebody's site."""
    return "".join(character if character.isprintable() else " " for character in text)


def amount(size: int) -> str:
    """Bytes in decimal units: `512 B`, `1.5 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(span: timedelta) -> str:
    """`8.2 s`, `3 min 5 s`, `2 h 10 min`."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(at: datetime | None) -> str:
    """UTC to the second, as ISO 8601; empty when there is none."""
    return "" if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
