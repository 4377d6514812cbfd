"""What the MySQL store does when its database is away, slow, half-open, locked, or answers a commit with silence."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.busy_loop import cut_everywhere
from tests.support.fault_proxy import Direction, FaultProxy, fault_proxy
from tests.support.servers import Mariadb
from tests.support.stores import (
    CUSTOMER,
    accepted_clone,
    claimed,
    job_id,
    make_older,
    migrated_database,
    new_clone,
    new_job,
    open_mysql_store,
    with_customer,
)
from tests.support.wait import until_async
from wpclone.core.jobs import transitions
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Limits, RequestKey, Step
from wpclone.core.jobs.states import StepState
from wpclone.core.store import Page
from wpclone.core.store.mysql import MysqlStore, StoreMisconfigured
from wpclone.core.store.mysql.changes import _apply_known
from wpclone.core.store.mysql.database import Database, Session, Unmatched
from wpclone.core.store.renewal import RenewalLine

KEY = RequestKey(CUSTOMER, "CreateClone", "r1", b"b" * 32)
SETTINGS = "SELECT @@tx_isolation, @@time_zone, @@innodb_lock_wait_timeout, CONNECTION_ID()"


@pytest.fixture
def database_name(mariadb_server: Mariadb) -> Iterator[str]:
    with migrated_database(mariadb_server) as name:
        yield name


@pytest.fixture
def proxy(mariadb_server: Mariadb) -> Iterator[FaultProxy]:
    with fault_proxy(mariadb_server.place.port) as made:
        yield made


def through(proxy: FaultProxy, mariadb: Mariadb, name: str) -> str:
    return mariadb.url(name).replace(f":{mariadb.place.port}/", f":{proxy.port}/")


@pytest.fixture
async def store(mariadb_server: Mariadb, database_name: str, proxy: FaultProxy) -> AsyncIterator[MysqlStore]:
    """A store behind the proxy, with a customer."""
    opened = await MysqlStore.open(through(proxy, mariadb_server, database_name), pool_size=4, timeout=4)
    await with_customer(opened)
    yield opened
    await opened.close()


async def answers(store: MysqlStore) -> bool:
    try:
        return bool(await store.now())
    except StoreUnavailable:
        return False


async def test_an_outage_is_store_unavailable_and_the_same_store_works_when_it_is_over(
    mariadb_server: Mariadb, database_name: str
) -> None:
    store = await open_mysql_store(mariadb_server, database_name, timeout=3)
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    await asyncio.to_thread(mariadb_server.stop)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await store.get_job(job_id(1))
            with pytest.raises(StoreUnavailable):
                await store.accept(new_job(2))
        with pytest.raises(StoreUnavailable):
            await MysqlStore.open(mariadb_server.url(database_name), timeout=2)
    finally:
        await asyncio.to_thread(mariadb_server.start)
    assert (await store.renew("w1", {job_id(1): claim.fence})) != []
    job = await store.apply(transitions.progressed(claim, progress=5, status_message="on"))
    assert job.progress == 5
    await store.close()


async def test_connections_that_died_idle_are_replaced_unseen(store: MysqlStore, proxy: FaultProxy) -> None:
    await asyncio.gather(*(store.now() for _ in range(8)))
    proxy.reset_all()
    jobs = await asyncio.gather(*(store.accept(new_job(n), clone=new_clone(n)) for n in range(1, 9)))
    assert [job.job_id for job in jobs] == [job_id(n) for n in range(1, 9)]
    proxy.reset_all()
    assert await store.get_customer(CUSTOMER) is not None


def test_a_sign_in_cut_at_any_byte_is_an_outage_also_where_the_loop_is_busy(mariadb_server: Mariadb, proxy: FaultProxy) -> None:
    """On uvloop, as workers and server run: there a reset that comes before aiomysql goes on raises RuntimeError."""

    async def asked() -> None:
        database = Database(through(proxy, mariadb_server, "mysql"), pool_size=1, timeout=10, chance=lambda: 0.5)
        try:
            await database.read("SELECT 1")
        except StoreUnavailable:
            return  # the only thing it may raise
        finally:
            await database.close()

    cut_everywhere(proxy, asked, greeting=120, handshake=640)


async def test_a_silent_server_costs_the_timeout_and_not_more(store: MysqlStore, proxy: FaultProxy) -> None:
    loop = asyncio.get_running_loop()
    proxy.faults.swallow = {Direction.TO_CLIENT}
    started = loop.time()
    with pytest.raises(StoreUnavailable):
        await store.now()
    assert loop.time() - started < 6
    proxy.faults.swallow = set()
    await until_async(lambda: answers(store), within=10)


async def test_a_commit_whose_answer_is_lost_is_found_again_by_the_accept_itself(store: MysqlStore, proxy: FaultProxy) -> None:
    await store.now()
    for n in range(1, 11):
        proxy.faults.cut_after = {Direction.TO_CLIENT: 1}
        job = await store.accept(new_job(n), key=KEY if n == 1 else None, clone=new_clone(n))
        assert job.job_id == job_id(n)
    assert len(await store.list_jobs(customer_id=None, page=Page(99))) == 10


async def test_a_commit_without_an_answer_is_unavailable_and_the_repeat_finds_the_job(
    store: MysqlStore, proxy: FaultProxy, mariadb_server: Mariadb, database_name: str
) -> None:
    await store.now()
    proxy.faults.swallow = {Direction.TO_CLIENT}
    with pytest.raises(StoreUnavailable):
        await store.accept(new_job(1), key=KEY, clone=new_clone(1))
    proxy.faults.swallow = set()
    assert mariadb_server.execute("SELECT job_id FROM jobs", database=database_name) == [(job_id(1),)]
    proxy.reset_all()
    assert (await store.accept(new_job(2), key=KEY, clone=new_clone(2))).job_id == job_id(1)


async def test_a_write_that_comes_through_after_it_was_given_up_and_written_again_changes_nothing(store: MysqlStore) -> None:
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    start = replace(transitions.step_started(claim, Step("copy", 0, StepState.RUNNING), status_message=""), known=claim.job)
    await store.apply(start)
    done = transitions.step_done(claim, Step("copy", 0, StepState.DONE), progress=50)
    job = await store.apply(replace(done, known=await store.get_job(job_id(1))))
    with pytest.raises(Unmatched):
        await store._db.transact(lambda session: _apply_known(session, start, claim.job))
    assert await store.get_job(job_id(1)) == job
    assert job.steps[0].state is StepState.DONE


async def test_a_known_job_is_written_in_one_packet_and_found_again_when_its_answer_is_lost(
    store: MysqlStore, proxy: FaultProxy
) -> None:
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    job = claim.job
    for number in range(1, 6):
        proxy.faults.cut_after = {Direction.TO_CLIENT: 1}
        step = Step(f"step{number}", number, StepState.DONE)
        job = await store.apply(replace(transitions.step_done(claim, step, progress=number), known=job))
        assert job == await store.get_job(job_id(1))
    assert [step.name for step in job.steps] == [f"step{number}" for number in range(1, 6)]


@pytest.mark.parametrize(("lost_at", "runs"), [("statement", 2), ("commit", 1)])
async def test_a_transaction_is_repeated_when_lost_before_its_commit_and_never_after(
    store: MysqlStore, proxy: FaultProxy, lost_at: str, runs: int
) -> None:
    ran: list[int] = []

    async def work(session: Session) -> None:
        ran.append(1)
        if lost_at == "statement" and len(ran) == 1:
            proxy.faults.cut_after = {Direction.TO_CLIENT: 1}
        await session.run("UPDATE customers SET live_clones = COALESCE(live_clones, 0) + 1")
        if lost_at == "commit":
            proxy.faults.cut_after = {Direction.TO_CLIENT: 1}

    if lost_at == "commit":
        with pytest.raises(StoreUnavailable):
            await store._db.transact(work)
    else:
        await store._db.transact(work)
    assert len(ran) == runs

    async def counted() -> bool:
        customer = await store.get_customer(CUSTOMER)
        return customer is not None and customer.limits.live_clones == 1

    await until_async(counted, within=3)


async def test_a_row_locked_for_longer_than_a_lock_wait_is_waited_for(mariadb_server: Mariadb, database_name: str) -> None:
    store = await open_mysql_store(mariadb_server, database_name, timeout=20)
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    other = mariadb_server.connect(database_name)
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM jobs WHERE job_id = %s FOR UPDATE", (job_id(1),))
        applying = asyncio.create_task(store.apply(transitions.progressed(claim, progress=5, status_message="")))
        waited = [("0",)]

        async def timed_out() -> bool:
            rows = mariadb_server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")
            waited[:] = [(rows[0][1],)]
            return applying.done() or int(rows[0][1]) >= start + 2

        start = int(mariadb_server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")[0][1])
        await until_async(timed_out, within=10)
        assert not applying.done()
        cursor.execute("COMMIT")
    other.close()
    assert (await applying).progress == 5
    await store.close()


async def test_many_writers_of_the_same_rows_all_get_through(mariadb_server: Mariadb, database_name: str) -> None:
    store = await open_mysql_store(mariadb_server, database_name, pool_size=10, timeout=30)
    await with_customer(store, limits=Limits(running_jobs=5))
    for n in range(1, 21):
        await accepted_clone(store, n)

    async def run(n: int) -> None:
        claim = await until_async(lambda: store.claim(job_id(n), worker=f"w{n}"), within=20)
        assert claim is not None
        running = await store.list_jobs(customer_id=CUSTOMER, page=Page(99))
        assert sum(job.state.value == "running" for job in running) <= 5
        await asyncio.gather(store.request_cancel(job_id(n)), store.renew(f"w{n}", {job_id(n): claim.fence}))
        await store.apply(transitions.cancelled(claim, clone=None, needs_attention=False, status_message=""))

    await asyncio.gather(*(run(n) for n in range(1, 21)))
    await store.close()


async def test_pruning_removes_the_request_ids_that_have_outlived_their_seven_days_and_no_others(
    store: MysqlStore, mariadb_server: Mariadb, database_name: str
) -> None:
    async def asked(number: int) -> None:
        key = RequestKey(CUSTOMER, "CreateClone", f"r{number}", b"b" * 32)
        await store.accept(new_job(number), clone=new_clone(number), key=key)

    async def kept() -> list[str]:
        assert await store.prune(older_than=timedelta(days=30), most=10) == 0
        rows = await asyncio.to_thread(mariadb_server.execute, "SELECT request_id FROM requests", database=database_name)
        return sorted(name for (name,) in rows)

    await asked(1)
    make_older(mariadb_server, database_name, 4 * 86400)
    await asked(2)
    make_older(mariadb_server, database_name, 3 * 86400 - 600)
    assert await kept() == ["r1", "r2"]
    make_older(mariadb_server, database_name, 1200)
    assert await kept() == ["r2"]
    assert await store.get_job(job_id(1)) is not None


async def test_a_storm_of_cancelled_calls_leaves_the_pool_whole(store: MysqlStore) -> None:
    await accepted_clone(store)
    for _ in range(10):
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(store.get_job(job_id(1))) for _ in range(40)]
        tasks += [asyncio.create_task(store.accept(new_job(1), key=KEY)) for _ in range(10)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    async with asyncio.timeout(3):
        assert all(await asyncio.gather(*(store.get_job(job_id(1)) for _ in range(20))))


async def test_every_connection_reads_committed_in_utc_with_short_lock_waits(store: MysqlStore) -> None:
    found = await asyncio.gather(*(store._db.read(SETTINGS, "SELECT SLEEP(0.1)") for _ in range(4)))
    rows = [results[0].rows[0] for results in found]
    assert {tuple(row[:3]) for row in rows} == {("READ-COMMITTED", "+00:00", 2)}
    assert len({row[3] for row in rows}) == 4


async def test_commits_that_are_not_durable_are_refused_unless_allowed(mariadb_server: Mariadb, database_name: str) -> None:
    mariadb_server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with pytest.raises(StoreMisconfigured, match="durable"):
            await open_mysql_store(mariadb_server, database_name)
        allowed = await MysqlStore.open(mariadb_server.url(database_name), require_durable=False)
        await allowed.close()
    finally:
        mariadb_server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


async def test_the_renewal_line_renews_on_its_own_connection_and_survives_outages(
    store: MysqlStore, proxy: FaultProxy, mariadb_server: Mariadb, database_name: str
) -> None:
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    line = RenewalLine(through(proxy, mariadb_server, database_name), timeout=1)
    fences = {job_id(1): claim.fence, job_id(2): 1}
    assert [r.job_id for r in await asyncio.to_thread(line.renew, "w1", fences)] == [job_id(1)]
    assert line.renew("w1", {}) == []
    proxy.faults.swallow = {Direction.TO_CLIENT}
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(line.renew, "w1", fences)
    assert loop.time() - started < 3
    proxy.faults.swallow = set()
    await store.request_cancel(job_id(1))
    renewed = await asyncio.to_thread(line.renew, "w1", fences)
    assert [(r.job_id, r.cancel_requested) for r in renewed] == [(job_id(1), True)]
    assert await asyncio.to_thread(line.renew, "w2", fences) == []
    line.close()


async def test_a_look_for_cancels_waits_for_no_lock_of_a_claim(
    store: MysqlStore, mariadb_server: Mariadb, database_name: str
) -> None:
    await accepted_clone(store)
    claim = await claimed(store, job_id(1))
    await store.request_cancel(job_id(1))
    line = RenewalLine(mariadb_server.url(database_name))
    ending = mariadb_server.connect(database_name)
    try:
        ending.begin()
        ending.query("DELETE FROM claims")
        fences = {job_id(1): claim.fence}
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(line.renew, "w1", fences)
        seen = await asyncio.to_thread(line.seen, "w1", fences)
    finally:
        ending.close()
        line.close()
    assert [(r.job_id, r.cancel_requested) for r in seen] == [(job_id(1), True)]
