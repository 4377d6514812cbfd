"""Job stores for tests: the in-memory one and MySQL on the session's MariaDB, with time that moves when told to.

async with opened_store("mysql", mariadb_server) as bench:
    await bench.store.create_customer("acme", Limits())
    await bench.advance(60)
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from weakref import WeakKeyDictionary

from tests.support.clock import ManualClock
from tests.support.servers import Mariadb
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, Clone, Job, JobError, Limits, NewClone, NewJob, RequestKey
from wpclone.core.jobs.states import CloneState, JobKind, Priority
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.store import JobStore
from wpclone.core.store.memory import MemoryStore
from wpclone.core.store.migrate import migrate
from wpclone.core.store.mysql import MysqlStore

CUSTOMER = "acme"
READY = CloneChange(CloneState.READY, {"port": 1}, url="http://clone.test", admin_login="editor", starts_ttl=True)
ERROR = JobError("The source does not answer.", "SOURCE_UNREACHABLE", "preflight", {"host": "source.test"})
DUE_NOW = timedelta(0)
T = TypeVar("T")


@dataclass(frozen=True)
class StoreBench:
    """A store and its time machine (for MySQL: everything stored becomes that much older)."""

    store: JobStore
    advance: Callable[[float], Awaitable[None]]


class _Migrated:
    """Databases of one server that have all tables and no rows."""

    def __init__(self) -> None:
        self.free: list[str] = []
        self.made = 0


_MIGRATED: "WeakKeyDictionary[object, _Migrated]" = WeakKeyDictionary()


@contextmanager
def migrated_database(mariadb: Mariadb) -> Iterator[str]:
    """The name of a database with the job store's tables, empty; emptied and used again afterwards."""
    known = _MIGRATED.setdefault(mariadb.loop, _Migrated())
    if known.free:
        name = known.free.pop()
    else:
        known.made += 1
        name = f"store_{known.made}"
        mariadb.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        migrate(mariadb.url(name))
    try:
        yield name
    finally:
        _empty(mariadb, name)
        known.free.append(name)


async def open_mysql_store(mariadb: Mariadb, name: str, *, pool_size: int = 5, timeout: float = 10.0) -> MysqlStore:
    """A MysqlStore on a database that has the tables."""
    return await MysqlStore.open(mariadb.url(name), pool_size=pool_size, timeout=timeout)


@asynccontextmanager
async def opened_store(kind: str, mariadb: Mariadb | None) -> AsyncIterator[StoreBench]:
    """A store of this kind (`memory` or `mysql`), empty, closed afterwards."""
    if kind == "memory":
        clock = ManualClock()

        async def advance_clock(seconds: float) -> None:
            clock.advance(seconds)

        yield StoreBench(MemoryStore(clock), advance_clock)
        return
    assert mariadb is not None
    with migrated_database(mariadb) as name:
        store = await open_mysql_store(mariadb, name)

        async def age(seconds: float) -> None:
            make_older(mariadb, name, seconds)

        try:
            yield StoreBench(store, age)
        finally:
            await store.close()


def make_older(mariadb: Mariadb, name: str, seconds: float) -> None:
    """Move every time in the database back, as if that much time had passed."""
    columns = mariadb.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s AND data_type = 'datetime'", name
    )
    by_table: dict[str, list[str]] = {}
    for table, column in columns:
        by_table.setdefault(table, []).append(column)
    for table, names in by_table.items():
        changes = ", ".join(f"{c} = {c} - INTERVAL {seconds} SECOND" for c in names)
        mariadb.execute(f"UPDATE {table} SET {changes}", database=name)


def _empty(mariadb: Mariadb, name: str) -> None:
    tables = mariadb.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name <> 'alembic_version'", name
    )
    for (table,) in tables:
        mariadb.execute(f"DELETE FROM {table}", database=name)


def job_id(number: int, kind: JobKind = JobKind.CLONE) -> str:
    return f"{kind.value}-{number:012x}"


def new_job(
    number: int = 1,
    kind: JobKind = JobKind.CLONE,
    *,
    customer_id: str = CUSTOMER,
    clone_id: str | None = None,
    priority: Priority = Priority.NORMAL,
    run_for: float = 3600,
    secrets: bytes | None = b"cipher",
    reads_clone: str | None = None,
) -> NewJob:
    """A job to accept; a clone job's clone has its id."""
    name = job_id(number, kind)
    return NewJob(
        job_id=name, kind=kind, customer_id=customer_id, request={"source_url": "http://source.test/ü"}, secrets=secrets,
        definition_version=1, run_for=timedelta(seconds=run_for), priority=priority,
        clone_id=name if kind is JobKind.CLONE else clone_id, reads_clone=reads_clone, traceparent="00-trace-span-01",
    )  # fmt: skip


def new_clone(number: int = 1, *, customer_id: str = CUSTOMER, ttl: float = 600) -> NewClone:
    return NewClone(job_id(number), customer_id, "local", "http://source.test/ü", timedelta(seconds=ttl), b"guard")


async def with_customer(store: JobStore, customer_id: str = CUSTOMER, limits: Limits | None = None) -> None:
    await store.create_customer(customer_id, limits or Limits())


async def accepted_clone(store: JobStore, number: int = 1, *, customer_id: str = CUSTOMER, ttl: float = 600) -> Job:
    """An accepted clone job with its clone; makes the customer when missing."""
    await with_customer(store, customer_id)
    return await store.accept(new_job(number, customer_id=customer_id), clone=new_clone(number, customer_id=customer_id, ttl=ttl))


async def claimed(store: JobStore, name: str, worker: str = "w1") -> Claim:
    claim = await store.claim(name, worker=worker)
    assert claim is not None
    return claim


def key(name: str = "r1", body: bytes = b"b", method: str = "CreateClone") -> RequestKey:
    return RequestKey(CUSTOMER, method, name, body.ljust(32, b"\x00"))


async def ready_clone(store: JobStore, number: int = 1, *, ttl: float = 600) -> Job:
    await accepted_clone(store, number, ttl=ttl)
    claim = await claimed(store, job_id(number))
    return await store.apply(transitions.completed(claim, result={"rows": 3}, status_message="Done.", clone=READY))


async def finished(store: JobStore, claim: Claim, clone: CloneChange | None = None) -> Job:
    return await store.apply(transitions.completed(claim, result={}, status_message="Done.", clone=clone))


async def at_once(store: JobStore, calls: list[Awaitable[T]]) -> list[T]:
    """The answers of calls that start together, on connections that are there already."""
    await asyncio.gather(*(store.now() for _ in range(20)))
    return await asyncio.gather(*calls)


async def clone_of(store: JobStore, number: int = 1) -> Clone:
    clone = await store.get_clone(job_id(number))
    assert clone is not None
    return clone


def deletion(number: int = 9, of: int = 1, customer_id: str = CUSTOMER) -> NewJob:
    return new_job(number, JobKind.DELETE, clone_id=job_id(of), customer_id=customer_id)
