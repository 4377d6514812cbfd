"""A table's definition as we keep it between the foreign SQL it was read from and our own SQL that makes it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_DEFAULT_COLLATION = "utf8mb4_unicode_520_ci"


@dataclass(frozen=True)
class Server:
    """What the server that gets the table knows: names of collations and character sets, in lower case."""

    collations: frozenset[str]
    charsets: frozenset[str]

    def collation(self, name: str) -> str:
        """The collation itself, or the nearest the server has: WordPress's own for newer Unicode ones, `_bin` for exact ones."""
        wanted = name.lower()
        if wanted in self.collations:
            return wanted
        charset, _, rest = wanted.partition("_")
        charset = self.charset(charset)
        exact = rest.endswith(("_cs", "_bin", "_as_cs")) or rest == "bin"
        choices = [
            f"{charset}_{rest}",
            f"{charset}_bin" if exact else f"{charset}_unicode_520_ci",
            f"{charset}_general_ci",
            f"{charset}_bin",
        ]
        return next((choice for choice in choices if choice in self.collations), _DEFAULT_COLLATION)

    def charset(self, name: str) -> str:
        """The character set itself, or under its other name."""
        wanted = name.lower()
        if wanted in self.charsets:
            return wanted
        other = {"utf8": "utf8mb3", "utf8mb3": "utf8"}.get(wanted, "utf8mb4")
        return other if other in self.charsets else "utf8mb4"


@dataclass(frozen=True)
class Key:
    """An index: its definition as `ALTER TABLE … ADD` takes it. `unique` includes the primary key."""

    name: bytes
    columns: tuple[bytes, ...]
    sql: bytes
    unique: bool


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, added when all data is there."""

    name: bytes
    refers_to: bytes
    sql: bytes


@dataclass
class Table:
    """A table's parsed definition. `notes` say what was dropped or changed; `mapped` are columns whose collation was."""

    name: bytes
    columns: dict[bytes, bytes] = field(default_factory=dict)
    automatic: bytes | None = None
    keys: list[Key] = field(default_factory=list)
    checks: list[bytes] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    engine: str = "InnoDB"
    charset: str = "utf8mb4"
    collation: str = ""
    comment: bytes = b""
    next_number: bytes = b""
    notes: list[str] = field(default_factory=list)
    mapped: set[bytes] = field(default_factory=set)

    def deferrable(self) -> list[Key]:
        """Indexes that can be built after the data, which is faster: not unique, and not what AUTO_INCREMENT counts by."""
        counted = next((key for key in self.keys if key.columns[0] == self.automatic), None)
        return [key for key in self.keys if not key.unique and key is not counted]

    def create(self, *, defer: Sequence[Key] = (), engine: str = "InnoDB") -> bytes:
        """The CREATE TABLE statement without foreign keys and without the keys in `defer`."""
        later = {key.name for key in defer}
        lines = [*self.columns.values(), *(key.sql for key in self.keys if key.name not in later), *self.checks]
        options = [f"ENGINE={engine}", f"DEFAULT CHARSET={self.charset}"]
        if self.collation:
            options.append(f"COLLATE={self.collation}")
        if engine == "InnoDB":
            options.append("ROW_FORMAT=DYNAMIC")
        made = b"CREATE TABLE " + quoted(self.name) + b" (\n  " + b",\n  ".join(lines) + b"\n) " + " ".join(options).encode()
        if self.next_number:
            made += b" AUTO_INCREMENT=" + self.next_number
        return made + (b" COMMENT=" + self.comment if self.comment else b"")


def quoted(name: bytes) -> bytes:
    """An identifier as SQL takes it."""
    return b"`" + name.replace(b"`", b"``") + b"`"
