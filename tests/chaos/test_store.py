"""MariaDB restarted under load, replies cut, partitions: an outage of the truth stops work and spoils nothing."""

import asyncio
import random
import secrets
import signal
import time
from contextlib import suppress

import pytest

from tests.support.chaos import CUSTOMER, Field
from tests.support.chaos_table import note
from tests.support.fault_proxy import Direction, fault_proxy
from tests.support.history import judge
from tests.support.wait import until_async
from wpclone.core.jobs.errors import RequestIdReused, StoreUnavailable
from wpclone.core.jobs.job import RequestKey
from wpclone.core.store.mysql import MysqlStore


async def accepted_despite(place: Field, jobs: int, *, every: float) -> None:
    """Ask for jobs with request ids, each again until it is answered, as clients do."""
    for number in range(jobs):
        key, job_id = RequestKey(CUSTOMER, "CreateClone", f"r{number}", b"body".ljust(32)), f"clone-{secrets.token_hex(6)}"

        async def answered(key: RequestKey = key, job_id: str = job_id) -> bool:
            try:
                await place.accept_one(play={"millis": 100}, key=key, job_id=job_id)
            except StoreUnavailable:
                return False
            return True

        await until_async(answered, within=60, every=0.2)
        await asyncio.sleep(every)


async def restarts(place: Field, jobs: int, pauses: list[float], *, every: float) -> None:
    """MariaDB restarts after each of these pauses while jobs come and run."""
    workers = [place.start(slots=8) for _ in range(2)]
    early = 0

    async def both_work() -> bool:
        nonlocal early
        early += len(await place.accept(2))
        return await asyncio.to_thread(place.count, "SELECT COUNT(DISTINCT worker) FROM claim_history") == len(workers)

    await until_async(both_work, within=60, every=0.3)
    creating = asyncio.create_task(accepted_despite(place, jobs, every=every))
    for pause in pauses:
        await asyncio.sleep(pause)
        await asyncio.to_thread(place.mariadb.stop)
        await asyncio.to_thread(place.mariadb.start)
    await creating
    await place.ended(place.accepted, within=120)
    assert all(worker.is_alive for worker in workers)
    assert place.ids("status <> 'completed' OR attempt > 0 OR lapses > 0") == [], place.said()
    assert place.count("SELECT COUNT(*) FROM jobs") == jobs + early


@pytest.mark.timeout(300)
async def test_jobs_survive_restarts_of_the_database(place: Field) -> None:
    await restarts(place, 40, [3, 4], every=0.15)
    note("R9 MariaDB restarted twice under load", judge(place))


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_300_jobs_survive_a_database_restarted_again_and_again(place: Field) -> None:
    await restarts(place, 300, [random.uniform(5, 40) for _ in range(8)], every=0.5)
    note("R9 MariaDB restarted every 5 to 40 s, 8 times", judge(place))


async def refused(place: Field, jobs: int, *, seconds: float) -> float:
    """Every connection to MariaDB is reset, and each new one at once, for so long; it costs no attempt and no lapse.

    The seconds from the end of that to the first write.
    """
    with fault_proxy(place.mariadb.place.port) as proxy:
        workers = [place.start(slots=8, database_port=proxy.port) for _ in range(2)]
        accepted = await place.accept(jobs, millis=1000)
        # All of them, at both: a claim whose answer is lost when the line breaks lapses if it breaks for long.
        await until_async(lambda: asyncio.to_thread(lambda: place.count("SELECT COUNT(*) FROM claims") == jobs), within=30)
        proxy.faults.refuse = True
        proxy.reset_all()
        await asyncio.sleep(seconds)
        proxy.faults.refuse = False
        back = time.time()
        await place.ended(accepted, within=90)
        assert all(worker.is_alive for worker in workers), place.said()
    note(f"R9 connections to MariaDB reset and refused for {seconds:.0f} s", judge(place))
    assert place.ids("status <> 'completed' OR attempt > 0 OR lapses > 0") == [], place.said()
    assert "runner.bug" not in place.said()
    assert "consumer.bug" not in place.said()
    ((resumed,),) = place.rows("SELECT MIN(at) FROM job_history WHERE at > %s", back)
    return float(resumed) - back


@pytest.mark.timeout(180)
async def test_jobs_survive_connections_refused_until_their_tasks_are_cancelled(place: Field) -> None:
    await refused(place, 12, seconds=11)


@pytest.mark.full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seconds", [20, 45, 120])
async def test_jobs_survive_connections_refused_for_longer_than_a_lease(place: Field, seconds: float) -> None:
    assert await refused(place, 16, seconds=seconds) <= 10


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_jobs_survive_a_primary_that_only_reads(place: Field) -> None:
    """As after a failover that has not come to its end. Root may write: the jobs and the target's effects are its own."""
    name, password = f"worker_{secrets.token_hex(4)}", secrets.token_hex(12)
    place.rows(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY '{password}'")
    place.rows(f"GRANT ALL ON {place.database}.* TO '{name}'@'127.0.0.1'")
    try:
        workers = [place.start(slots=8, signs_in_as=f"{name}:{password}") for _ in range(2)]
        jobs = await place.accept(40, millis=1000)
        for worker in workers:
            await until_async(lambda name=worker.name: _held(place, name, 1), within=30)  # type: ignore[misc]
        place.rows("SET GLOBAL read_only = 1")
        written = place.count("SELECT COUNT(*) FROM writes")
        await asyncio.sleep(25)
        assert place.count("SELECT COUNT(*) FROM writes") <= written + 16  # those that were on their way
        place.rows("SET GLOBAL read_only = 0")
        await place.ended(jobs, within=120)
        assert all(worker.is_alive for worker in workers), place.said()
    finally:
        place.rows("SET GLOBAL read_only = 0")
        place.rows(f"DROP USER '{name}'@'127.0.0.1'")
    assert place.ids("status <> 'completed' OR attempt > 0") == [], place.said()
    note("R9 a primary that only reads for 25 s", judge(place))


async def cut_replies(place: Field, creates: int) -> None:
    """The reply to a create is cut at some byte; asking again with the same id and request id gives the one job there is."""
    with fault_proxy(place.mariadb.place.port) as proxy:
        url = place.mariadb.url(place.database).replace(f":{place.mariadb.place.port}/", f":{proxy.port}/")
        store = await MysqlStore.open(url, pool_size=2)
        cut = 0
        try:
            for number in range(creates):
                key = RequestKey(CUSTOMER, "CreateClone", f"cut{number}", b"body".ljust(32))
                asked = f"clone-{secrets.token_hex(6)}"
                await store.now()
                proxy.faults.cut_after[Direction.TO_CLIENT] = 1 + number * 7 % 400
                before = proxy.connections
                with suppress(StoreUnavailable):
                    await place.accept_one(store=store, key=key, job_id=asked)
                proxy.faults.cut_after.clear()
                cut += proxy.connections > before
                again = await place.accept_one(key=key, job_id=f"clone-{secrets.token_hex(6)}")
                once_more = await place.accept_one(key=key, job_id=f"clone-{secrets.token_hex(6)}")
                assert again.job_id == once_more.job_id
                other = RequestKey(CUSTOMER, "CreateClone", f"cut{number}", b"another body".ljust(32))
                with pytest.raises(RequestIdReused):
                    await place.accept_one(key=other, job_id=f"clone-{secrets.token_hex(6)}")
        finally:
            await store.close()
        assert cut > creates // 4  # it connected anew
    place.accepted = sorted(set(place.accepted))
    assert place.count("SELECT COUNT(*) FROM jobs") == creates == len(place.accepted)


async def test_a_create_whose_reply_is_cut_is_one_job(place: Field) -> None:
    await cut_replies(place, 40)
    place.start(slots=8)
    await place.ended(place.accepted, within=60)
    note("R10 reply to a create cut, then asked again, 40", judge(place))


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_200_creates_whose_replies_are_cut_are_200_jobs(place: Field) -> None:
    await cut_replies(place, 200)
    for _ in range(2):
        place.start(slots=8)
    await place.ended(place.accepted, within=120)
    note("R10 reply to a create cut, then asked again, 200", judge(place))


async def test_workers_whose_replies_are_cut_repeat_nothing(place: Field) -> None:
    with fault_proxy(place.mariadb.place.port) as proxy:
        workers = [place.start(slots=8, database_port=proxy.port) for _ in range(2)]
        jobs = await place.accept(60, millis=80)
        ending = asyncio.create_task(place.ended(jobs, within=100))
        while not ending.done():
            proxy.faults.cut_after[Direction.TO_CLIENT] = random.randrange(1, 4000)
            await asyncio.wait([ending], timeout=0.4)
        await ending
        assert all(worker.is_alive for worker in workers), place.said()
    note("R10 replies to workers cut again and again", judge(place))
    assert place.ids("status <> 'completed' OR lapses > 0") == [], place.said()


async def partitioned(place: Field, ways: set[Direction], name: str) -> None:
    """One worker's packets to or from MySQL vanish; another takes its jobs over, and the first comes back by itself."""
    with fault_proxy(place.mariadb.place.port) as proxy:
        far = place.start(slots=8, database_port=proxy.port)
        jobs = await place.accept(8, millis=3000)
        await until_async(lambda: _held(place, far.name, 4), within=20)
        proxy.faults.swallow |= ways
        place.start(slots=8)
        await place.ended(jobs, within=90)
        proxy.faults.swallow.clear()
        proxy.reset_all()
        more = await place.accept(16, millis=200)
        await place.ended(more, within=60)
        assert far.is_alive, place.said()
    note(name, judge(place))
    assert place.ids("status <> 'completed'") == []


@pytest.mark.timeout(300)
async def test_a_worker_cut_off_from_the_store_loses_its_jobs_to_others(place: Field) -> None:
    await partitioned(place, set(Direction), "R12 worker cut off from MySQL")


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", Direction)
async def test_a_worker_half_cut_off_from_the_store_loses_its_jobs_to_others(place: Field, way: Direction) -> None:
    await partitioned(place, {way}, f"R12 worker and MySQL, nothing passes {way.value}")


async def test_a_worker_cut_off_from_the_broker_finishes_what_it_has(place: Field) -> None:
    with fault_proxy(place.nats.place.port) as proxy:
        far = place.start(slots=8, nats_port=proxy.port)
        jobs = await place.accept(8, millis=1500)
        await until_async(lambda: _held(place, far.name, 8), within=20)
        proxy.faults.swallow |= set(Direction)
        near = place.start(slots=8)
        jobs += await place.accept(8, millis=100)
        await place.ended(jobs, within=60)
        proxy.faults.swallow.clear()
        proxy.reset_all()
        near.send(signal.SIGSTOP)
        await place.ended(await place.accept(4), within=60)
    note("R12 worker cut off from NATS", judge(place))
    assert place.ids("status <> 'completed' OR lapses > 0") == []


async def _held(place: Field, worker: str, most: int) -> bool:
    held = await asyncio.to_thread(place.rows, "SELECT COUNT(*) FROM claims WHERE worker = %s", worker)
    return int(held[0][0]) >= most
