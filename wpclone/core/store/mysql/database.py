"""Connections to MySQL and transactions on them: timeouts, retries, and foreign errors made ours.

The driver is aiomysql under SQLAlchemy's pool (aiomysql's own pool hangs its waiters when a query is cancelled). A
transaction is sent as few packets of several statements each: on the way of a request every round trip counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiomysql
import pymysql
from pymysql.constants import ER
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from wpclone.core.jobs.errors import StoreUnavailable, WpcloneError
from wpclone.core.jobs.retry import Chance
from wpclone.core.store.mysql.sql import render

T = TypeVar("T")

_driver: Any = aiomysql  # untyped


class _Connection(_driver.Connection):  # type: ignore[misc]
    """The driver's connection, whose farewell does not complain when the peer has gone already."""

    async def ensure_closed(self) -> None:
        """Say goodbye if that is still possible, and close."""
        try:
            await super().ensure_closed()
        except (OSError, RuntimeError):  # uvloop raises RuntimeError for a transport that was closed under it
            self.close()


SESSION = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 2, time_zone = '+00:00', wait_timeout = 60, "
    "sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
    # A peer that vanished inside a transaction must not hold its job's row lock for hours: MariaDB ends it soon, MySQL, which
    # lacks this, by wait_timeout. The pool's connections are recycled before that (_IDLE_SECONDS).
    " /*M!100300 , idle_transaction_timeout = 5 */",
)
"""What every connection of ours is set to, the renewal line's included."""

_CHECKREAD = 1020  # MariaDB's "record has changed since last read"
_CONFLICTS = frozenset({ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, _CHECKREAD})
_LOST = frozenset({0, 2003, 2006, 2013, 2014, 2055, 1053, 1927, 4031})
_CONFLICT_TRIES = 8
_IDLE_SECONDS = 60
_CONFLICT_PAUSE = 0.02  # seconds; doubles, full jitter


# An error on purpose: without procedures nothing else ends a packet. Not `SELECT IF(…)`, which may look at both sides, nor `DO`,
# which MySQL lets pass whatever it meets.
MATCHED = "SET @matched = (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE ROW_COUNT() < 1)"
"""Ends the packet, its COMMIT included, with Unmatched unless the statement before it matched a row."""


class StoreRefused(WpcloneError):
    """The job store refused a statement: a constraint or a limit of a column."""

    reason = "STORE_REFUSED"


class Duplicate(StoreRefused):
    """A unique key is taken."""


class Unmatched(StoreRefused):
    """The statement before MATCHED matched no row."""


class _Conflict(Exception):
    """Another transaction was in the way; the whole of this one may be tried again."""


class _Lost(Exception):
    """The connection is gone."""


@dataclass(frozen=True)
class Result:
    """What one statement gave: its rows, how many it matched, and its LAST_INSERT_ID."""

    rows: Sequence[tuple[Any, ...]]
    matched: int
    last_id: int


class Session:
    """One connection during one unit of work."""

    def __init__(self, connection: Any, *, transaction: bool) -> None:
        self._connection = connection
        self._transaction = transaction
        self._begun = False
        self.is_ended = False

    async def run(self, *statements: str, commit: bool = False, **parameters: Any) -> list[Result]:
        """Send the statements in one packet, `%(name)s` for parameters; with `commit`, the COMMIT goes along.

        The first packet of a transaction carries its BEGIN. A statement that fails ends the packet: nothing after it runs.
        Raises Duplicate, Unmatched, StoreRefused.
        """
        script = list(statements)
        begins = self._transaction and not self._begun
        if begins:
            script.insert(0, "BEGIN")
            self._begun = True
        if commit:
            script.append("COMMIT")
            self.is_ended = True
        results = await self._send(render(";\n".join(script), parameters))
        return results[begins : begins + len(statements)]

    async def end(self, how: str) -> None:
        """COMMIT or ROLLBACK, when a transaction is open; the server says so with every answer."""
        if how == "COMMIT":
            self.is_ended = True
        if self._connection.get_transaction_status():
            await self._send(how)

    async def _send(self, script: str) -> list[Result]:
        try:
            cursor = await self._connection.cursor()
            await cursor.execute(script)
            results = [await _result(cursor)]
            while await cursor.nextset():
                results.append(await _result(cursor))
            return results
        except pymysql.err.MySQLError as e:
            raise _translated(e) from e
        except (OSError, RuntimeError) as e:  # asyncio raises RuntimeError for a transport that was closed under it
            raise _Lost(str(e)) from e


async def _result(cursor: Any) -> Result:
    rows = await cursor.fetchall() if cursor.description is not None else ()
    return Result(rows, cursor.rowcount, cursor.lastrowid or 0)


def _translated(error: pymysql.err.MySQLError) -> Exception:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in _CONFLICTS:
        return _Conflict(str(error))
    if number in _LOST or isinstance(error, pymysql.err.InterfaceError):
        return _Lost(str(error))
    if number == ER.DUP_ENTRY:
        return Duplicate()
    if number == ER.SUBQUERY_NO_1_ROW:
        return Unmatched()
    if isinstance(error, pymysql.err.IntegrityError | pymysql.err.DataError | pymysql.err.ProgrammingError):
        return StoreRefused(metadata={"errno": str(number)})
    return StoreUnavailable(metadata={"errno": str(number)})


class Database:
    """A pool of connections and the one way to use them."""

    def __init__(self, url: str, *, pool_size: int, timeout: float, chance: Chance) -> None:
        self._timeout = timeout
        self._chance = chance
        self._most_losses = pool_size + 2  # all of the pool may have died idle
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout,
            pool_recycle=_IDLE_SECONDS - 15,  # younger than what the server hangs up on: an idle pool has no dead connections
            pool_reset_on_return=None,  # `_work` ends every transaction itself and saves a round trip
            isolation_level="AUTOCOMMIT",  # BEGIN and COMMIT are in our packets
            async_creator=self._connect,
        )
        _, arguments = self._engine.dialect.create_connect_args(self._engine.url)
        self._arguments: dict[str, Any] = {
            **arguments,
            "connect_timeout": min(3.0, timeout),
            "charset": "utf8mb4",
            "autocommit": True,
        }

    async def transact(self, work: Callable[[Session], Awaitable[T]], *, repeatable: bool = False) -> T:
        """Run `work` in one transaction and commit; anything it raises rolls back.

        Deadlocks, lock waits and connections lost before the commit was sent make the whole of `work` run again; with
        `repeatable`, so does a commit whose outcome is unknown. Raises StoreUnavailable when that did not help in time.
        """
        return await self._within_time(lambda: self._retried(work, transaction=True, repeatable=repeatable))

    async def read(self, *statements: str, **parameters: Any) -> list[Result]:
        """Statements outside a transaction, each its own, repeated as `transact` does. Raises StoreUnavailable."""
        return await self._within_time(lambda: self._retried(lambda s: s.run(*statements, **parameters), transaction=False))

    async def client_flags(self) -> int:
        """What the driver agreed with the server (pymysql.constants.CLIENT)."""

        async def flags(session: Session) -> int:
            return int(session._connection.client_flag)

        return await self._within_time(lambda: self._retried(flags, transaction=False))

    async def close(self) -> None:
        """Close all connections; never waits longer than a call may take."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._engine.dispose()
        except TimeoutError:
            await self._engine.dispose(close=False)

    async def _within_time(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except TimeoutError as e:
            raise StoreUnavailable("The job store did not answer in time.") from e
        except (_Lost, _Conflict, SQLAlchemyError, OSError, pymysql.err.MySQLError) as e:
            raise StoreUnavailable from e

    async def _retried(self, work: Callable[[Session], Awaitable[T]], *, transaction: bool, repeatable: bool = False) -> T:
        conflicts = losses = 0
        while True:
            session: Session | None = None
            try:
                async with self._connection() as connection:
                    raw = await connection.get_raw_connection()
                    session = Session(raw.driver_connection, transaction=transaction)
                    return await _finished(session, work)
            except _Conflict:
                conflicts += 1
                if conflicts == _CONFLICT_TRIES:
                    raise
                await asyncio.sleep(_CONFLICT_PAUSE * 2**conflicts * self._chance())
            except _Lost:
                # A pooled connection may have died idle. After a COMMIT was sent its outcome is unknown: never again blindly.
                losses += 1
                is_unknown = session is not None and session.is_ended and transaction and not repeatable
                if losses == self._most_losses or is_unknown:
                    raise

    async def _connect(self) -> Any:
        connection = _Connection(**self._arguments)
        try:
            await connection.ping()  # this connects; aiomysql.connect() would leave its socket open when cancelled
            cursor = await connection.cursor()
            for statement in SESSION:
                await cursor.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._engine.connect())
            except RuntimeError as e:
                # aiomysql and uvloop raise it for a transport that closed while they were signing in: the peer hung up at once.
                raise _Lost(str(e)) from e
            try:
                yield connection
            except (WpcloneError, _Conflict):
                raise  # the connection is in order, and rolled back
            except BaseException:
                # Cancelled, timed out or lost: what is on the wire now would be read by the next user.
                await asyncio.shield(connection.invalidate())
                raise


async def _finished(session: Session, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do the work and end its transaction, if it has one and the work did not end it."""
    try:
        result = await work(session)
    except (WpcloneError, _Conflict):
        await session.end("ROLLBACK")
        raise
    await session.end("COMMIT")
    return result
