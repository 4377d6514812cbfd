"""Makes a copy's tables: created before the rows, their slower indexes and foreign keys after them.

DDL commits by itself, so the fence is held by a second connection's transaction while it runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import replace

import pymysql

from wpclone.wordpress import left_places
from wpclone.wordpress.control import Control, Cursor
from wpclone.wordpress.table_definition import ForeignKey, Key, Server, quoted
from wpclone.wordpress.table_plan import TablePlan
from wpclone.wordpress.target import DDL_SECONDS, Connection, refusals

# Below this many rows an index costs less while the rows come than a statement of its own afterwards.
_DEFER_FROM_ROWS = 20_000
# What InnoDB cannot have and another engine can: a counter inside a key, longer rows, longer keys.
_ENGINE_ERRORS = {1005, 1031, 1071, 1075, 1118, 1163, 1214, 1478}


async def known_server(connection: Connection) -> Server:
    """What the target knows of collations and character sets."""
    collations = {str(row[0]).lower() for row in await connection.run(b"SHOW COLLATION")}
    # MariaDB 10.10 lists the UCA 14 collations without their character set and takes them for any Unicode one.
    collations |= {f"utf8mb4_{name}" for name in collations if name.startswith("uca1400")}
    charsets = {str(row[0]).lower() for row in await connection.run(b"SHOW CHARACTER SET")}
    return Server(frozenset(collations), frozenset(charsets))


async def known_packet(connection: Connection) -> int:
    """The largest statement the target takes, in bytes."""
    return int((await connection.run(b"SELECT @@max_allowed_packet"))[0][0])


class TableBuilder:
    """Runs definitions on one connection while the other holds the fence."""

    def __init__(self, definitions: Connection, rows: Connection, control: Control) -> None:
        self.definitions = definitions
        self._rows, self._control = rows, control

    async def create(
        self, plans: Mapping[bytes, TablePlan], cursors: MutableMapping[bytes, Cursor], *, exact: bytes = b""
    ) -> None:
        """Create every table that has no usable cursor, anew; give it one. `exact` names a table whose cursor says so."""
        made: dict[bytes, Cursor] = {}
        async with self._control.holding(self._rows):
            for name, plan in plans.items():
                cursor = cursors.get(name)
                # Only InnoDB's rows and cursor are one transaction; others' tables start again unless they are complete. So does
                # one whose file was brought: which of its rows were rewritten is known of the whole table only.
                if cursor is None or ((cursor.engine != "InnoDB" or cursor.brought) and not cursor.full):
                    made[name] = await self._create(plan, exact=name == exact)
                    await left_places.forget(self._rows, name)
            await self._control.save(self._rows, made)
        cursors.update(made)

    async def create_to_bring(self, plan: TablePlan, cursors: MutableMapping[bytes, Cursor]) -> None:
        """Create a table anew whose file is to be brought: empty, with all its indexes, and with a cursor that says so."""
        made = Cursor(brought=True)
        async with self._control.holding(self._rows):
            await self.definitions.run(b"DROP TABLE IF EXISTS " + quoted(plan.name))
            with refusals(plan.name):
                await self.definitions.run(plan.table.create())
            await left_places.forget(self._rows, plan.name)
            await self._control.save(self._rows, {plan.name: made})
        cursors[plan.name] = made

    async def _create(self, plan: TablePlan, *, exact: bool) -> Cursor:
        await self.definitions.run(b"DROP TABLE IF EXISTS " + quoted(plan.name))
        defer = plan.table.deferrable() if plan.rows >= _DEFER_FROM_ROWS else []
        try:
            await self.definitions.run(plan.table.create(defer=defer))
        except pymysql.err.MySQLError as error:
            if error.args[0] not in _ENGINE_ERRORS or plan.table.engine.upper() == "INNODB":
                with refusals(plan.name):
                    raise
        else:
            return Cursor(exact=exact)
        with refusals(plan.name):
            await self.definitions.run(plan.table.create(defer=defer, engine=plan.table.engine))
        note = f"engine {plan.table.engine} was kept: InnoDB cannot have this table"
        return Cursor(exact=exact, engine=plan.table.engine, notes=(note,))

    async def drop(self, names: Collection[bytes], cursors: MutableMapping[bytes, Cursor]) -> None:
        """Have nothing of these tables in the copy, and forget how far they were."""
        async with self._control.holding(self._rows):
            for name in names:
                await self.definitions.run(b"DROP TABLE IF EXISTS " + quoted(name))
                await left_places.forget(self._rows, name)
            await self._control.forget(self._rows, names)
        for name in names:
            cursors.pop(name, None)

    async def finish(self, plans: Mapping[bytes, TablePlan], cursors: MutableMapping[bytes, Cursor]) -> None:
        """Add what was deferred to tables whose rows are all there; a foreign key the rows break is noted, not made."""
        for name, plan in plans.items():
            cursor = cursors[name]
            if cursor.done:
                continue
            wanted = plan.table.deferrable() if plan.rows >= _DEFER_FROM_ROWS else []
            if wanted or plan.table.foreign_keys:
                async with self._control.holding(self._rows):
                    notes = await self._complete(plan, wanted, set(plans))
                    cursors[name] = replace(cursor, done=True, notes=(*cursor.notes, *notes))
                    await self._control.save(self._rows, {name: cursors[name]})

    async def _complete(self, plan: TablePlan, wanted: list[Key], copied: set[bytes]) -> list[str]:
        there = {_text(row[2]) for row in await self.definitions.run(b"SHOW INDEX FROM " + quoted(plan.name))}
        missing = [key for key in wanted if key.name not in there]
        # InnoDB builds one full-text index at a time.
        groups = [[key] for key in missing if key.sql.startswith(b"FULLTEXT")]
        plain = [key for key in missing if not key.sql.startswith(b"FULLTEXT")]
        for group in [plain, *groups] if plain else groups:
            added = b", ".join(b"ADD " + key.sql for key in group)
            with refusals(plan.name):
                await self.definitions.run(b"ALTER TABLE " + quoted(plan.name) + b" " + added, seconds=DDL_SECONDS)
        return [note for key in plan.table.foreign_keys if (note := await self._relate(plan, key, copied))]

    async def _relate(self, plan: TablePlan, key: ForeignKey, copied: set[bytes]) -> str:
        """Add one foreign key; why not, if it was not possible."""
        if key.refers_to not in copied:
            return "a foreign key to a table that is not copied was dropped"
        add = b"ALTER TABLE " + quoted(plan.name) + b" ADD " + key.sql
        try:
            await self.definitions.run(add, seconds=DDL_SECONDS)
        except pymysql.err.MySQLError as error:
            if error.args[0] in (1826, 121, 1005, 1061, 1022) and await self._has_constraint(plan.name, key.name):
                return ""  # an attempt before made it
            return f"a foreign key was dropped (error {error.args[0]})"
        return ""

    async def _has_constraint(self, table: bytes, name: bytes) -> bool:
        shown = await self.definitions.run(b"SHOW CREATE TABLE " + quoted(table))
        return b"CONSTRAINT " + quoted(name) in _text(shown[0][1])


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
