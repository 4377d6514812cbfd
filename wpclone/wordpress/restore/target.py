"""The site a restore writes to: every order to its agent, under one restore's name and one claim's fence.

Orders may be repeated after any loss. A lower fence is refused at the target (FencedOff), by a file lock beside the journal and
by a row in the target's own database.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Damaged, decoded, encoded
from wpclone.wordpress.errors import FencedOff, Reason, SiteError
from wpclone.wordpress.restore.file_plan import FilePlan
from wpclone.wordpress.table_definition import quoted
from wpclone.wordpress.target import literal

_FENCE_BITS = 16
# Largest first: fits PHP's default of 8 MB with its base64, then 2 MB hosts, nginx's 1 MB, and odd ones.
_PARTS = (3_000_000, 1_400_000, 700_000, 300_000, 90_000)
_KEYS = 2000
#: The header that passes through the maintenance of an exchange; its value is `RestoreState.health_key`.
HEALTH_HEADER = "X-Wpclone-Health"


def fence_number(created_at: datetime, fence: int) -> int:
    """A fence that also grows from one job at a site to the next: the job's creation (seconds), then its own fence."""
    return (int(created_at.timestamp()) << _FENCE_BITS) | (fence & ((1 << _FENCE_BITS) - 1))


@dataclass(frozen=True)
class RestoreState:
    """How far a restore is at the target. `state`: staging, staged, switching, swapped, live, undoing, rolled_back,
    releasing.

    `tables` are the sealed ones, `units` files to exchange, `moved` those exchanged, `old_bytes` the kept old files' size.
    `rules`: what became of WordPress's rules in .htaccess: empty for nothing to do, `written`, `there`, or `not_…` for why not.
    """

    state: str
    tables: tuple[str, ...]
    units: int
    moved: int
    old_bytes: int
    health_key: str
    rules: str = ""


@dataclass(frozen=True)
class SwapResult:
    """`changed`: tables that were written to since their mark was taken, so that nothing was exchanged; empty when it was."""

    changed: tuple[str, ...]
    state: RestoreState


@dataclass(frozen=True)
class Numbered:
    """A staged table: its private name, and the cursor text kept with its rows."""

    staged: bytes
    cursor: str


class RestoreTarget:
    """One restore at one target, as the holder of `fence` (see `fence_number`) drives it. Call `claim` or `find` first."""

    def __init__(self, agent: AgentClient, restore_id: str, *, fence: int) -> None:
        self.agent = agent
        self._id, self._fence = restore_id, fence
        self._numbered: dict[str, Numbered] = {}
        self.part_bytes = _PARTS[-1]

    async def order(self, do: str, data: bytes | None = None, **more: object) -> list[dict[str, object]]:
        """One order: the J frames' objects, then the E frame's. Raises FencedOff, and SiteError with the target's reason."""
        asked: dict[str, object] = {"verb": "restore", "do": do, "id": self._id, "fence": self._fence, **more}
        return await self.agent.order(asked, data)

    async def claim(self) -> RestoreState:
        """Make the place at the target or take it over, and find out how much one request may carry. Raises FencedOff."""
        state = _state(await self.order("claim", make=True))
        if state.state in ("staging", "staged"):
            self.part_bytes = await self._measure()
        return state

    async def find(self) -> RestoreState | None:
        """As `claim`, but makes nothing: None when the target knows no such restore."""
        try:
            return _state(await self.order("claim", make=False))
        except SiteError as error:
            if error.reason is not Reason.NOTHING_TO_ROLL_BACK:
                raise
            return None

    async def state(self) -> RestoreState:
        """How far the restore is."""
        return _state(await self.order("state"))

    async def _measure(self) -> int:
        """The largest part that reaches the agent whole: PHP, web server and firewalls each have a limit of their own."""
        for size in _PARTS[:-1]:
            try:
                await self.order("state", bytes(size))
                return size
            except SiteError as error:
                if error.reason in (Reason.SOURCE_UNREACHABLE, Reason.SOURCE_BUSY):
                    raise
        await self.order("state", bytes(_PARTS[-1]))
        return _PARTS[-1]

    async def marks(self, tables: Sequence[str]) -> dict[str, str]:
        """A mark of each live table: equal marks mean equal content; empty for a table that is not there."""
        found = {}
        for table in tables:
            said = await self.order("marks", tables=[encoded(table.encode())])
            found[table] = str(said[0]["mark"])
        return found

    async def number(self, tables: Sequence[str]) -> Mapping[str, Numbered]:
        """Give tables (by their names at the target) their private names; those of all tables numbered so far."""
        said = await self.order("number", tables=[encoded(table.encode()) for table in tables])
        for item in said[:-1]:
            name = decoded(item["table"]).decode()
            self._numbered[name] = Numbered(str(item["staged"]).encode(), str(item["cursor"]))
        return self._numbered

    def staged_name(self, table: str) -> bytes:
        """The private name of a staged table; KeyError for one that `stage_tables` did not stage in this process."""
        return self._numbered[table].staged

    async def define(self, table: str, statements: Sequence[bytes], *, anew: bool, cursor: str) -> None:
        """Create (`anew` drops it before) or alter a staged table, and set its cursor."""
        texts = [encoded(statement) for statement in statements]
        await self.order("define", table=encoded(table.encode()), statements=texts, anew=anew, cursor=cursor)

    async def load(self, statements: Sequence[bytes], moves: Sequence[tuple[str, str, str]], *, table: str = "") -> None:
        """Write rows (without `moves` those of `table`) and move cursors (table, before, after) in one transaction; done before,
        it does nothing."""
        data = b"".join(struct.pack(">I", len(statement)) + statement for statement in statements)
        moved = [{"name": encoded(name.encode()), "before": before, "after": after} for name, before, after in moves]
        touched = encoded(table.encode())
        if len(data) <= self.part_bytes:
            await self.order("load", data, moves=moved, table=touched)
            return
        await self._note("spool", data)
        await self.order("load", moves=moved, table=touched, spooled=True)

    async def _note(self, what: str, data: bytes) -> None:
        for offset in range(0, len(data) or 1, self.part_bytes):
            await self.order("note", data[offset : offset + self.part_bytes], what=what, offset=offset)

    async def carry(
        self, table: str, keys: Sequence[tuple[bytes, ...]], *, by: Sequence[bytes] = (), omit: Sequence[bytes] = ()
    ) -> int:
        """Make the staged rows with these keys what the live table has: inserted, replaced or removed, inside the database.

        `by` are the key's columns (default: the primary key), compared in their collation; `omit` are not carried. The number of
        rows the live table had. Raises SiteError(STAGING_DAMAGED) with error 1062 in its detail when another unique key collides.
        """
        return await self._carry(table, keys, by, omit, removes=False)

    async def remove(self, table: str, keys: Sequence[tuple[bytes, ...]], *, by: Sequence[bytes] = ()) -> None:
        """Remove staged rows by key."""
        await self._carry(table, keys, by, (), removes=True)

    async def _carry(
        self, table: str, keys: Sequence[tuple[bytes, ...]], by: Sequence[bytes], omit: Sequence[bytes], *, removes: bool
    ) -> int:
        carried = 0
        for part in _batches(keys, self.part_bytes):
            data = json.dumps([[encoded(value) for value in key] for key in part], separators=(",", ":")).encode()
            said = await self.order(
                "carry", data, table=encoded(table.encode()), removes=removes,
                by=[encoded(column) for column in by], omit=[encoded(column) for column in omit],
            )  # fmt: skip
            carried += int(str(said[-1]["carried"]))
        return carried

    async def put(self, table: str, columns: Sequence[bytes], rows: Sequence[Sequence[bytes | None]]) -> None:
        """Insert or replace staged rows with these values."""
        if table not in self._numbered:
            await self.number([table])
        head = b"REPLACE INTO " + quoted(self.staged_name(table)) + b" (" + b",".join(map(quoted, columns)) + b") VALUES "
        held: list[bytes] = []
        size = 0
        for row in rows:
            values = b"(" + b",".join(b"NULL" if value is None else literal(value) for value in row) + b")"
            if held and size + len(values) > self.part_bytes // 2:
                await self.load([head + b",".join(held)], (), table=table)
                held, size = [], 0
            held.append(values)
            size += len(values) + 1
        if held:
            await self.load([head + b",".join(held)], (), table=table)

    async def maintenance(self, on: bool) -> None:
        """WordPress's maintenance mode; WordPress ends it ten minutes after the last call with True."""
        await self.order("maintenance", on=on)

    async def seal(self, plan: FilePlan, tables: Sequence[str]) -> None:
        """Say that everything is staged and verified: these tables and files are to be exchanged. One that was
        rolled back may be sealed again as it is."""
        units = plan.units()
        lines = b"".join(
            json.dumps([kind, root, encoded(path)], separators=(",", ":")).encode() + b"\n" for kind, root, path in units
        )
        await self._note("list", lines)
        await self.order("seal", tables=[encoded(table.encode()) for table in tables], units=len(units))

    async def swap(self, *, expected: Mapping[str, str] | None) -> SwapResult:
        """Exchange everything. Afterwards the site answers 503 to all but the health check, until `go_live` or `rollback`.

        With `expected` (marks) the tables are compared while nobody can write to them; when one differs nothing is exchanged, the
        maintenance stays, and `changed` names it. Raises SiteError(TARGET_CHANGING) when the tables cannot be had for ten
        seconds.
        """
        marks = None if expected is None else [[encoded(name.encode()), mark] for name, mark in expected.items()]
        while True:
            said = await self.order("swap", expected=marks)
            state = _state(said)
            changed = tuple(_names(said[-1].get("changed")))
            if changed or state.state != "switching":
                break
        if state.state == "swapped":
            await self._forget_objects()
        return SwapResult(changed, state)

    async def _forget_objects(self) -> None:
        """Empty a persistent object cache. It runs code of the site's; what that does to the request says nothing of the site."""
        try:
            await self.agent.order_once({"verb": "restore", "do": "forget", "id": self._id, "fence": self._fence})
        except (SiteError, FencedOff):
            return  # the health check judges what visitors will see

    async def go_live(self) -> RestoreState:
        """End the maintenance: the new content is what everybody gets."""
        return _state(await self.order("live"))

    async def resume(self) -> RestoreState:
        """After any crash: forward to `swapped` when the tables are the new ones, back to `staged` when not."""
        while True:
            state = _state(await self.order("resume"))
            if state.state not in ("switching", "undoing"):
                break
        if state.state == "swapped":
            await self._forget_objects()
        return state

    async def rollback(self) -> RestoreState:
        """The old tables and files are back and the maintenance is over, from whatever state."""
        while True:
            state = _state(await self.order("undo"))
            if state.state != "undoing":
                break
        await self._forget_objects()
        return state

    async def release(self) -> None:
        """Drop all that is not live: old or new set, control table, side directory. Success when nothing is there."""
        try:
            while not (await self.order("release"))[-1]["released"]:
                continue
        except SiteError as error:
            if error.reason is not Reason.NOTHING_TO_ROLL_BACK:
                raise

    async def versions_behind(self) -> list[dict[str, str]]:
        """Options that tell an older version than before the exchange: `option`, `was`, `is`."""
        rows = (await self.order("state"))[-1].get("behind")  # an older agent put there by hand says none
        found = [_names(row) for row in rows] if isinstance(rows, list) else []
        return [{"option": name, "was": was, "is": now} for name, was, now in found]

    async def changed_since_live(self) -> list[str]:
        """Tables written to since `go_live`: what a rollback would lose."""
        return _names((await self.order("since"))[-1].get("changed"))


def _state(said: Sequence[Mapping[str, Any]]) -> RestoreState:
    end = said[-1]
    try:
        return RestoreState(
            str(end["state"]),
            tuple(_names(end["tables"])),
            int(end["units"]),
            int(end["moved"]),
            int(end["bytes"]),
            str(end["key"]),
            str(end.get("rules", "")),
        )
    except (KeyError, TypeError, ValueError, Damaged) as error:
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER) from error


def _names(values: object) -> list[str]:
    return [decoded(value).decode() for value in values] if isinstance(values, list) else []


def _batches(keys: Sequence[tuple[bytes, ...]], most: int) -> Iterable[list[tuple[bytes, ...]]]:
    """Keys in runs that one request carries."""
    batch: list[tuple[bytes, ...]] = []
    size = 0
    for key in keys:
        length = sum(len(value) * 4 // 3 + 8 for value in key)
        if batch and (len(batch) >= _KEYS or size + length > most):
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += length
    if batch:
        yield batch
