"""Databases and users of clones on the clones' MySQL. A clone's user may touch its own database and nothing else.

Names derive from the clone's id, so that a retried step finds what an earlier attempt made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomysql
import pymysql

from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.wordpress.target import NOT_CONNECTED, is_loss

_SECONDS = 20.0
_CONNECT_SECONDS = 10.0
_NAME = re.compile(r"wpc_[0-9a-f]{12}")
_SCRATCH = re.compile(r"wpc_[rs][0-9a-f]{12}")
_GRANTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, LOCK TABLES, CREATE VIEW, "
    "SHOW VIEW, TRIGGER"
)
"""What WordPress and the copy need. No EVENT: a clone starts nothing by itself."""
_MOST_CONNECTIONS = 40
_REFUSED = frozenset({1044, 1045, 1142, 1227})
_SILENT = "The database of the clones does not answer."
_NO_SUCH_USER = frozenset({1133, 1396})


def database_name(clone_id: str) -> str:
    """The name of a clone's database and of its user: `clone-1a2b3c4d5e6f` → `wpc_1a2b3c4d5e6f`."""
    return "wpc_" + clone_id.removeprefix("clone-")


def base_name(clone_id: str) -> str:
    """The name of the database beside a clone's that remembers what its rows were when it was made; not the clone user's."""
    return database_name(clone_id) + "_base"


def scratch_name(restore_id: str, *, of_source: bool = False) -> str:
    """The name of a restore's database for its copy of the target's tables, or of the source's."""
    return f"wpc_{'s' if of_source else 'r'}{restore_id.removeprefix('restore-')}"


@dataclass(frozen=True)
class DatabaseServer:
    """The clones' MySQL as a worker reaches it."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, url: str) -> DatabaseServer:
        """From `mysql://user:password@host:port/`. Raises ValueError, without the URL in it."""
        parts = urlsplit(url)
        if parts.scheme != "mysql" or not parts.hostname or not parts.username:
            raise ValueError("WPCLONE_CLONES_DATABASE_URL: must be a mysql:// address with user, password, host and port")
        return cls(parts.hostname, parts.port or 3306, unquote(parts.username), unquote(parts.password or ""))


class CloneDatabases:
    """Makes and removes them. `user_host` is where clones connect from, as MySQL accounts name it."""

    def __init__(self, server: DatabaseServer, *, user_host: str, randomness: Randomness) -> None:
        self.server = server
        self._user_host = user_host
        self._randomness = randomness

    async def create(self, clone_id: str, password: str) -> str:
        """Make database and user, or bring them to what they should be; the database's name."""
        name = _checked(clone_id)
        async with self.connection() as cursor:
            await cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
            await cursor.execute(f"CREATE USER IF NOT EXISTS `{name}`@%s IDENTIFIED BY %s", (self._user_host, password))
            limit = f"WITH MAX_USER_CONNECTIONS {_MOST_CONNECTIONS}"
            await cursor.execute(f"ALTER USER `{name}`@%s IDENTIFIED BY %s {limit}", (self._user_host, password))
            # In GRANT an underscore is a wildcard, and another clone's name must not match.
            pattern = name.replace("_", r"\_")
            await cursor.execute(f"GRANT {_GRANTS} ON `{pattern}`.* TO `{name}`@%s", (self._user_host,))
        return name

    async def drop(self, clone_id: str) -> None:
        """Remove user and database; success when they have gone already. The user first, so that nobody writes meanwhile."""
        name = _checked(clone_id)
        async with self.connection() as cursor:
            await self._end_connections(cursor, name)
            await cursor.execute(f"DROP USER IF EXISTS `{name}`@%s", (self._user_host,))
            await cursor.execute(f"DROP DATABASE IF EXISTS `{base_name(clone_id)}`")  # first: the sweep goes by the other
            await cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")

    async def create_scratch(self, name: str) -> None:
        """Make a restore's scratch database, or find it."""
        async with self.connection() as cursor:
            await cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{_checked_scratch(name)}` CHARACTER SET utf8mb4")

    async def drop_scratch(self, restore_id: str) -> None:
        """Remove a restore's scratch databases; success when they have gone already."""
        async with self.connection() as cursor:
            for of_source in (False, True):
                await cursor.execute(
                    f"DROP DATABASE IF EXISTS `{_checked_scratch(scratch_name(restore_id, of_source=of_source))}`"
                )

    async def scratch_of(self) -> list[str]:
        """The ids of restores whose scratch databases are there, for the sweep."""
        async with self.connection() as cursor:
            await cursor.execute(r"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'wpc\_%%'", ())
            return sorted({f"restore-{row[0][5:]}" for row in await cursor.fetchall() if _SCRATCH.fullmatch(row[0])})

    async def names(self) -> list[str]:
        """The databases of clones that are there, for the sweep."""
        async with self.connection() as cursor:
            await cursor.execute(r"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'wpc\_%%'", ())
            return [row[0] for row in await cursor.fetchall() if _NAME.fullmatch(row[0])]

    async def count_rows(self, clone_id: str, tables: list[str]) -> dict[str, int]:
        """How many rows these tables of a clone have; tables that are not there are absent."""
        name, counts = _checked(clone_id), {}
        async with self.connection(seconds=600) as cursor:
            for table in tables:
                quoted = table.replace("`", "``")
                try:
                    await cursor.execute(f"SELECT COUNT(*) FROM `{name}`.`{quoted}`")  # noqa: S608 - quoted names
                except pymysql.err.ProgrammingError as error:
                    if error.args[0] != pymysql.constants.ER.NO_SUCH_TABLE:
                        raise
                    continue
                counts[table] = int((await cursor.fetchone())[0])
        return counts

    async def _end_connections(self, cursor: Any, name: str) -> None:
        """Lock the user out and end its connections: a stopped worker's or a web server's would keep the database alive.

        Only an administrator may kill another's connection, but everybody may kill their own, so we sign in as the user.
        """
        password = self._randomness(24).hex()
        try:
            await cursor.execute(f"ALTER USER `{name}`@%s IDENTIFIED BY %s", (self._user_host, password))
        except pymysql.err.MySQLError as error:
            if error.args[0] in _NO_SUCH_USER:
                return
            raise
        async with self.connection(name, password) as own:
            await own.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s AND ID <> CONNECTION_ID()", (name,))
            for (number,) in await own.fetchall():
                try:
                    await own.execute(f"KILL {int(number)}")
                except pymysql.err.MySQLError as error:
                    if error.args[0] != pymysql.constants.ER.NO_SUCH_THREAD:
                        raise

    @asynccontextmanager
    async def connection(self, user: str = "", password: str = "", *, seconds: float = _SECONDS) -> AsyncIterator[Any]:
        """A cursor, as the service's account or as `user`, for `seconds` at most.

        Foreign errors of the whole block become RetryLater or Fatal.
        """
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connected(user or self.server.user, password or self.server.password)
                try:
                    async with connection.cursor() as cursor:
                        yield cursor
                except RuntimeError as error:
                    # uvloop raises it for a transport that was closed under it; any other is a bug.
                    if connection.closed or connection._writer.transport.is_closing():
                        raise ConnectionResetError from error
                    raise
                finally:
                    connection.close()
        except (TimeoutError, OSError) as error:
            raise RetryLater("CLONES_DATABASE_UNAVAILABLE", _SILENT) from error
        except pymysql.err.MySQLError as error:
            raise _meaning(error) from error

    async def _connected(self, user: str, password: str) -> Any:
        """A connection. Raises RetryLater, with the error number NOT_CONNECTED when the server is not there, and Fatal."""
        server = self.server
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await aiomysql.connect(  # type: ignore[no-untyped-call]
                    host=server.host, port=server.port, user=user, password=password, autocommit=True, charset="utf8mb4",
                    # "already there" and "already gone" are success, not news. A TIMESTAMP is compared, and sent, as UTC.
                    init_command="SET sql_notes = 0, time_zone = '+00:00'",
                )  # fmt: skip
        except (TimeoutError, OSError, RuntimeError) as error:
            raise RetryLater("CLONES_DATABASE_UNAVAILABLE", _SILENT, metadata={"error": NOT_CONNECTED}) from error
        except pymysql.err.MySQLError as error:
            raise _meaning(error, NOT_CONNECTED if is_loss(error) else "") from error


def _meaning(error: pymysql.err.MySQLError, number: str = "") -> Fatal | RetryLater:
    """A foreign error as ours; `number` stands for the error's own."""
    number = number or str(error.args[0] if error.args else 0)
    if number.isdigit() and int(number) in _REFUSED:
        return Fatal("CLONES_DATABASE_REFUSED", "The service's account may not do that on the clones' database.")
    sentence = _SILENT if number == NOT_CONNECTED else f"The database of the clones failed (error {number})."
    return RetryLater("CLONES_DATABASE_UNAVAILABLE", sentence, metadata={"error": number})


def _checked(clone_id: str) -> str:
    name = database_name(clone_id)
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a clone's id: {clone_id!r}")
    return name


def _checked_scratch(name: str) -> str:
    if not _SCRATCH.fullmatch(name):
        raise ValueError(f"not a scratch database: {name!r}")
    return name
