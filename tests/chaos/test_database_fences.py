"""The fence of a clone's database by itself: what an older claim may still do there, and when its look has to wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.servers import Mariadb
from tests.support.wait import until_async
from wpclone.wordpress.control import Control
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.target import Connection, TargetDatabase, connected


@asynccontextmanager
async def claimed(target: TargetDatabase, number: int) -> AsyncIterator[Connection]:
    """A connection of a claim that has the database; ended without a word, as those of older claims are."""
    async with connected(target, binary=True) as connection:
        await Control(number).claim(connection)
        yield connection


@pytest.fixture
def target(mariadb_server: Mariadb, database: str) -> TargetDatabase:
    return TargetDatabase("root", mariadb_server.password, database, port=mariadb_server.place.port)


async def test_an_older_claim_of_a_database_writes_nothing_and_ends_nobodys_connection(target: TargetDatabase) -> None:
    async with connected(target, binary=True) as newer:
        await Control(3).claim(newer)
        await Control(4).claim(newer)
        async with connected(target, binary=True) as late:
            await late.begin()
            with pytest.raises(FencedOff):
                await Control(3).check(late)
            await late.rollback()
            with pytest.raises(FencedOff):
                async with Control(3).holding(late):
                    pytest.fail("it was let in")
            with pytest.raises(FencedOff):
                await Control(3).claim(late)
        await newer.begin()
        await Control(4).check(newer)
        await newer.commit()


async def waits_for_a_lock(mariadb: Mariadb, task: "asyncio.Future[Any]") -> None:
    """Return when the task's statement waits for another transaction's lock, or the task has not had to and is done."""

    async def is_so() -> bool:
        waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'"
        return task.done() or bool((await asyncio.to_thread(mariadb.execute, waiting))[0][0])

    await until_async(is_so, within=40, every=0.05)


async def enters(connection: Connection) -> None:
    async with Control(3).holding(connection):
        pytest.fail("it was let in")


async def checks(connection: Connection) -> None:
    await connection.begin()
    await Control(3).check(connection)


@pytest.mark.parametrize("look", [enters, checks])
async def test_a_look_at_a_databases_fence_waits_for_a_claim_that_is_just_raising_it(
    target: TargetDatabase, mariadb_server: Mariadb, look: Callable[[Connection], Awaitable[None]]
) -> None:
    async with claimed(target, 3) as older, connected(target, binary=True) as newer:
        await newer.begin()
        await newer.run(b"UPDATE wpclone_control SET fence = 4 WHERE name = ''")
        looking = asyncio.ensure_future(look(older))
        await waits_for_a_lock(mariadb_server, looking)
        await newer.commit()
        with pytest.raises(FencedOff):
            await looking


async def test_a_database_whose_fence_is_gone_belongs_to_nobody(target: TargetDatabase) -> None:
    async with claimed(target, 3) as connection:
        for gone in (b"DELETE FROM wpclone_control WHERE name = ''", b"DROP TABLE wpclone_control"):
            await connection.run(gone)
            await connection.begin()
            with pytest.raises(FencedOff):
                await Control(3).check(connection)
            await connection.rollback()
