"""The database a copy is written to: connections with a time limit on every statement, and errors a person can use.

Drivers: aiomysql on PyMySQL. Row data travels with `SET NAMES binary`: the bytes that left the source's column arrive in the
target's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomysql
import pymysql
from pymysql.constants import COMMAND

from wpclone.wordpress.errors import Reason, SiteError

_CONNECT_SECONDS = 10.0
_STATEMENT_SECONDS = 120.0
# Building the indexes of a large table is one statement.
DDL_SECONDS = 3600.0

_DOWN = {
    1040,
    1053,
    1077,
    1079,
    1152,
    1158,
    1159,
    1160,
    1161,
    1203,
    1205,
    1213,
    1020,
    1317,
    1927,
    1969,
    2002,
    2003,
    2006,
    2013,
    2055,
    4031,
}
NOT_CONNECTED = "2003"
"""The error number in the details of TARGET_DATABASE_DOWN when no connection could be made."""

LOST = frozenset({0, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""The error numbers of a connection that is gone."""

# uvloop and aiomysql raise RuntimeError for a transport that was closed under them.
_BROKEN = (OSError, RuntimeError, pymysql.err.OperationalError, pymysql.err.InternalError, pymysql.err.InterfaceError)
_FULL = {1021, 1026, 1030, 1041, 1114, 1878}
SQL_MODE = b"NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"
_SESSION = (
    # Zero dates, the 30th of February, zero ids and values longer than the column are the source's truth, not errors.
    b"SET SESSION sql_mode='" + SQL_MODE + b"', time_zone='+00:00', foreign_key_checks=0, innodb_lock_wait_timeout=10",
    b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
_IF_KNOWN = (
    b"SET SESSION check_constraint_checks=0",
    b"SET SESSION idle_write_transaction_timeout=60",
    b"SET SESSION net_write_timeout=600",  # rows wait with the server while we write others
    b"SET SESSION sql_require_primary_key=0",
)
_UNKNOWN_VARIABLE = 1193
_PIECE_BYTES = 1 << 20
# MYSQL_OPTION_MULTI_STATEMENTS_OFF in two bytes; aiomysql switches them on without being asked.
_ONE_STATEMENT = b"\x01\x00"


@dataclass(frozen=True)
class TargetDatabase:
    """How to sign in to the database that gets the copy: a unix socket if one is given, else TCP."""

    user: str
    password: str = field(repr=False)
    database: str
    host: str = "127.0.0.1"
    port: int = 3306
    socket: str | None = None


class Connection:
    """One connection. `run` takes bytes of SQL and returns the rows, if there are any."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def run(self, sql: bytes, *, seconds: float = _STATEMENT_SECONDS) -> list[tuple[Any, ...]]:
        """Run one statement; raises SiteError, or pymysql's errors for what the caller may handle (duplicate key, bad DDL)."""
        try:
            async with asyncio.timeout(seconds):
                await self._raw.query(sql)
        except TimeoutError:
            self._raw.close()
            raise SiteError(Reason.TARGET_DATABASE_DOWN, f"The copy's database did not answer within {seconds:.0f} s.") from None
        except _BROKEN as error:
            raise translated(error) from error
        result = self._raw._result
        return list(result.rows or []) if result is not None else []

    async def answer(self, sql: bytes) -> AsyncGenerator[bytes, None]:
        """Run a SELECT; its rows as the server sends them, in pieces that end anywhere. See `table_reader`.

        The caller tells by the content where they end. Then, and after an error, nothing else can be run here. Raises SiteError,
        or pymysql's errors.
        """
        try:
            async with asyncio.timeout(_STATEMENT_SECONDS):
                await self._raw._execute_command(COMMAND.COM_QUERY, sql)
                head = await self._raw._read_packet()
                for _ in range(head.read_length_encoded_integer() + 1):
                    await self._raw._read_packet()  # the columns' names, and what stands behind them
            while True:
                async with asyncio.timeout(_STATEMENT_SECONDS):
                    piece = await self._raw._reader.read(_PIECE_BYTES)
                if not piece:
                    raise SiteError(Reason.TARGET_DATABASE_DOWN)
                yield piece
        except TimeoutError:
            raise SiteError(Reason.TARGET_DATABASE_DOWN) from None
        except _BROKEN as error:
            raise translated(error) from error
        finally:
            self._raw.close()

    async def one_statement_at_a_time(self) -> None:
        """Have the server refuse a second statement behind a semicolon: some of what we run has parts that the source wrote."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._raw._execute_command(COMMAND.COM_SET_OPTION, _ONE_STATEMENT)
                await self._raw._read_packet()
        except TimeoutError:
            raise _not_connected() from None
        except _BROKEN as error:
            raise _not_connected() if is_loss(error) else translated(error) from error

    async def begin(self) -> None:
        """Start a transaction."""
        await self.run(b"BEGIN")

    async def commit(self) -> None:
        """Make it last."""
        await self.run(b"COMMIT")

    async def rollback(self) -> None:
        """Undo it; a broken connection has undone it already."""
        try:
            await self.run(b"ROLLBACK")
        except SiteError:
            self.close()

    def close(self) -> None:
        """Drop the connection without a goodbye."""
        self._raw.close()


def translated(error: Exception) -> Exception:
    """A driver's error as a SiteError if it is about the server rather than a statement."""
    is_driver = isinstance(error, pymysql.err.MySQLError) and not isinstance(error, pymysql.err.InterfaceError)
    number = error.args[0] if is_driver and error.args and isinstance(error.args[0], int) else 2013
    if number in _DOWN:
        return SiteError(Reason.TARGET_DATABASE_DOWN, error=str(number))
    if number in _FULL:
        return SiteError(Reason.TOO_LITTLE_SPACE, "The copy's database has no space left; free some, then try again.")
    if number in (1044, 1045, 1049, 1142, 1227, 1698):
        message = "The copy's database refuses its own account; make it anew."
        return SiteError(Reason.TARGET_DATABASE_REFUSED, message, error=str(number))
    return error


def is_loss(error: Exception) -> bool:
    """Whether a driver's error means that the connection is gone, not that the server refused something."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return not isinstance(error, pymysql.err.MySQLError) or isinstance(error, pymysql.err.InterfaceError) or number in LOST


def _not_connected() -> SiteError:
    return SiteError(Reason.TARGET_DATABASE_DOWN, error=NOT_CONNECTED)


@contextmanager
def refusals(table: bytes) -> Iterator[None]:
    """What the server says about a statement for `table`, as a SiteError that names the table."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        number = str(error.args[0]) if error.args else ""
        name = table.decode("utf-8", "backslashreplace")
        message = f"The copy's database refused table {name} (error {number}); leave it out or repair it at the source."
        raise SiteError(Reason.TARGET_DATABASE_REFUSED, message, table=name, error=number) from error


@asynccontextmanager
async def connected(target: TargetDatabase, *, binary: bool) -> AsyncIterator[Connection]:
    """A connection set up for loading; `binary` for rows, else definitions in UTF-8."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            connect: Any = aiomysql.connect  # untyped
            raw = await connect(
                host=target.host, port=target.port, unix_socket=target.socket, user=target.user, password=target.password,
                db=target.database, charset="utf8mb4", autocommit=True, connect_timeout=_CONNECT_SECONDS, local_infile=False,
            )  # fmt: skip
    except TimeoutError:
        sentence = "The copy's database did not accept a connection within 10 s."
        raise SiteError(Reason.TARGET_DATABASE_DOWN, sentence, error=NOT_CONNECTED) from None
    except (OSError, RuntimeError, pymysql.err.MySQLError) as error:
        found = _not_connected() if is_loss(error) else translated(error)
        raise found if isinstance(found, SiteError) else SiteError(Reason.TARGET_DATABASE_DOWN) from error
    connection = Connection(raw)
    try:
        await connection.one_statement_at_a_time()
        for statement in (*_SESSION, b"SET NAMES binary" if binary else b"SET NAMES utf8mb4"):
            await connection.run(statement)
        for statement in _IF_KNOWN:
            await _try(connection, statement)
        yield connection
    finally:
        connection.close()


async def _try(connection: Connection, statement: bytes) -> None:
    try:
        await connection.run(statement)
    except pymysql.err.MySQLError as error:
        if error.args[0] != _UNKNOWN_VARIABLE:
            raise
    except SiteError as error:
        if error.metadata.get("error") != "1227":  # a setting that needs a right we do not have
            raise


def literal(value: bytes) -> bytes:
    """A string literal. With a binary connection only two bytes have a meaning between quotes."""
    return b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
