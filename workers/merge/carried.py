"""Which keys of a staged table are not the source's any more: kept, so that a repeat knows them after any crash."""

# ruff: noqa: S608 - statements are made of quoted names and our own constants

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.merge.shape import full

Key = tuple[bytes, ...]
"""A row's key, as the values' bytes."""

_AT_ONCE = 500


@dataclass(frozen=True)
class Carried:
    """The keys of one table, in a table of the scratch schema."""

    cursor: Any
    schema: str
    table: str

    async def keys(self) -> list[Key]:
        """Those noted so far."""
        await self._make()
        await self.cursor.execute(f"SELECT key_json FROM {full(self.schema, self.table)}", ())
        return [tuple(bytes.fromhex(part) for part in json.loads(text)) for (text,) in await self.cursor.fetchall()]

    async def add(self, keys: Sequence[Key]) -> None:
        """Note keys, before they are carried."""
        await self._make()
        for start in range(0, len(keys), _AT_ONCE):
            texts = [json.dumps([part.hex() for part in key]) for key in keys[start : start + _AT_ONCE]]
            values = ",".join(f"(X'{hashlib.sha256(text.encode()).hexdigest()}','{text}')" for text in texts)  # hexadecimal only
            await self.cursor.execute(
                f"INSERT INTO {full(self.schema, self.table)} VALUES {values} ON DUPLICATE KEY UPDATE id = id", ()
            )

    async def _make(self) -> None:
        await self.cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {full(self.schema, self.table)}"
            " (id BINARY(32) PRIMARY KEY, key_json LONGTEXT CHARACTER SET ascii NOT NULL) ENGINE=InnoDB", ()
        )  # fmt: skip
