"""A field for chaos tests: a job store with its history, a broker, worker processes to kill, and jobs to give them.

async with chaos_field(mariadb, nats) as field:
    field.start(slots=4)
    jobs = await field.accept(20)
    await field.ended(jobs, within=60)
"""

import asyncio
import os
import secrets
import signal
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.chaos_schema import chaos_database
from tests.support.nursery import Nursery, Nursling
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb, Nats
from tests.support.wait import until_async
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.jobs.errors import BusUnavailable
from wpclone.core.jobs.job import Job, Limits, NewClone, NewJob, RequestKey, Ring
from wpclone.core.jobs.states import JobKind, Priority
from wpclone.core.store.mysql import MysqlStore

ROOT = Path(__file__).parents[2]
CUSTOMER = "acme"
ALL_VERSIONS = ",".join(map(str, range(1, 30)))
"""Definition versions that a worker has plans for unless told otherwise: whatever the server of the day pins its jobs to."""


@dataclass
class Member:
    """One worker process. `ended_at` is seconds since 1970, like the database's clock of the same machine."""

    name: str
    process: Nursling
    ended_at: float | None = None

    @property
    def is_alive(self) -> bool:
        return self.ended_at is None

    def watch(self) -> None:
        """Note the moment it ends."""
        self.process.wait()
        self.ended_at = time.time()

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


@dataclass
class Field:
    """Where it all happens."""

    mariadb: Mariadb
    nats: Nats
    database: str
    store: MysqlStore
    bus: JetStreamBus
    directory: Path
    nursery: Nursery
    members: list[Member] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    # Workers

    def start(
        self, *, failpoint: str = "", slots: int = 4, database_port: int | None = None, nats_port: int | None = None,
        empty: bool = False, unguarded: bool = False, versions: str = ALL_VERSIONS, signs_in_as: str = "",
    ) -> Member:  # fmt: skip
        """A new worker process; ports lead it through a proxy; an unguarded one does not notice that its lease is over.

        `versions` are the definition versions it has plans for, with commas; `signs_in_as` its user at MariaDB and the password
        of that, as in a URL, root's unless given.
        """
        name = f"w{len(self.members) + 1}"
        direct = self.mariadb.url(self.database)
        environ = {
            "PATH": os.environ["PATH"], "CHAOS_NAME": name,
            "CHAOS_DATABASE_URL": f"mysql+aiomysql://{signs_in_as or f'root:{self.mariadb.password}'}@127.0.0.1:"
            f"{database_port or self.mariadb.place.port}/{self.database}",
            "CHAOS_TARGET_URL": direct, "CHAOS_SLOTS": str(slots), "CHAOS_FAILPOINT": failpoint,
            "CHAOS_NATS_URL": self.nats.url.replace(f":{self.nats.place.port}", f":{nats_port or self.nats.place.port}"),
            "CHAOS_EMPTY": str(int(empty)), "CHAOS_UNGUARDED": str(int(unguarded)), "CHAOS_VERSIONS": versions,
        }  # fmt: skip
        process = self.nursery.start(environ, self.directory / f"{name}.log", uid=SERVICE.uid, gid=SERVICE.gid)
        member = Member(name, process)
        self.members.append(member)
        watch = threading.Thread(target=member.watch, daemon=True)
        watch.start()
        self.threads.append(watch)
        return member

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.members if member.is_alive]

    async def terminated(self, member: Member, *, within: float = 60) -> int:
        """Ask a worker to leave; its exit code."""
        member.send(signal.SIGTERM)

        async def has_ended() -> bool:
            return not member.is_alive

        await until_async(has_ended, within=within)
        assert member.process.returncode is not None
        return member.process.returncode

    def said(self) -> str:
        """The last lines of every worker's log."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"-- {log.name}\n" + "\n".join(log.read_text().splitlines()[-40:]) for log in logs)

    def end(self) -> None:
        """Kill every worker."""
        for member in self.members:
            member.send(signal.SIGKILL)
        for thread in self.threads:
            thread.join(10)

    # Jobs

    async def accept(self, count: int = 1, *, customer: str = CUSTOMER, version: int = 1, **play: Any) -> list[str]:
        """Accept jobs as the server does: commit, then ring if the broker is there."""
        done = await asyncio.gather(*(self.accept_one(customer, play, version=version) for _ in range(count)))
        return [job.job_id for job in done]

    async def accept_one(
        self, customer: str = CUSTOMER, play: Any = None, *, store: MysqlStore | None = None, key: RequestKey | None = None,
        job_id: str = "", version: int = 1,
    ) -> Job:  # fmt: skip
        job_id = job_id or f"clone-{secrets.token_hex(6)}"
        new = NewJob(
            job_id=job_id, kind=JobKind.CLONE, customer_id=customer, request={"play": play or {}}, secrets=None,
            definition_version=version, run_for=timedelta(hours=1), clone_id=job_id,
        )  # fmt: skip
        clone = NewClone(job_id, customer, "local", "http://source.example", timedelta(hours=1))
        job = await (store or self.store).accept(new, clone=clone, key=key)
        self.accepted.append(job.job_id)
        with suppress(BusUnavailable):
            await self.bus.ring(Ring(job.job_id, job.enqueue_seq, Priority.NORMAL))
        return job

    async def ended(self, jobs: Sequence[str], *, within: float) -> None:
        """Wait until all of these jobs are terminal."""
        wanted = set(jobs)

        async def are_ended() -> bool:
            return not wanted - set(await asyncio.to_thread(self.ids, "status IN ('completed', 'failed', 'cancelled')"))

        try:
            await until_async(are_ended, within=within, every=0.2)
        except AssertionError:
            left = sorted(wanted - set(self.ids("status IN ('completed', 'failed', 'cancelled')")))
            shown = self.rows(
                "SELECT job_id, status, fence, lapses, attempt, verdict, status_message, rung_until, next_run_at,"
                " UTC_TIMESTAMP(6) FROM jobs WHERE job_id IN %s",
                left[:5],
            )
            raise AssertionError(f"{len(left)} of {len(wanted)} not ended: {shown}\n{self.said()}") from None

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.mariadb.execute(sql, *parameters, database=self.database)

    def ids(self, condition: str) -> list[str]:
        """The jobs of which this is true."""
        return [row[0] for row in self.rows(f"SELECT job_id FROM jobs WHERE {condition}")]

    def count(self, sql: str) -> int:
        return int(self.rows(sql)[0][0])


@asynccontextmanager
async def chaos_field(
    mariadb: Mariadb, nats: Nats, *, limits: Limits | None = None, history: bool = True
) -> AsyncIterator[Field]:
    """A field with the customer `acme`, no job and no worker.

    Without `history` its tables are as in production, for measuring, and cannot be judged.
    """
    with open_directory("chaos") as directory, chaos_database(mariadb, history=history) as database:
        store = await MysqlStore.open(mariadb.url(database), pool_size=20)
        bus = await JetStreamBus.open(nats.url, name="chaos", anew=store.ring_all_again)
        nursery = Nursery()
        place = Field(mariadb, nats, database, store, bus, directory, nursery)
        try:
            await until_async(lambda: _connected(bus), within=20)
            await bus.ensure()
            await store.create_customer(CUSTOMER, limits or Limits())
            yield place
        finally:
            place.end()
            nursery.close()
            await bus.close()
            await store.close()


async def _connected(bus: JetStreamBus) -> bool:
    return bus.is_connected
