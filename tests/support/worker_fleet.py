"""Counting workers as processes, a job store and a broker for them, and the jobs they run."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support.counting_worker import CALLS, EFFECTS, STEPS
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb, Nats
from tests.support.stores import migrated_database, open_mysql_store, with_customer
from tests.support.wait import until
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Job, NewClone, NewJob
from wpclone.core.jobs.states import JobKind, JobState
from wpclone.core.store.mysql import MysqlStore

ROOT = Path(__file__).parents[2]
CUSTOMER = "acme"


@dataclass
class WorkerProcess:
    """One worker: its name, its process, its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, *, within: float) -> int:
        """Its exit code."""
        return self.process.wait(within)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Fleet:
    """Workers around one store and one broker."""

    mariadb: Mariadb
    nats: Nats
    database: str
    effects: str
    place: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, *, failpoint: str = "", slots: int = 4, grace: float = 5.0) -> WorkerProcess:
        name = f"w{len(self.workers) + 1}"
        settings = {
            "name": name, "database_url": self.mariadb.url(self.database), "effects_url": self.mariadb.url(self.effects),
            "nats_url": self.nats.url, "slots": slots, "grace": grace, "failpoint": failpoint,
        }  # fmt: skip
        log = self.place / f"{name}.log"
        identity: dict[str, Any] = {"user": SERVICE.uid, "group": SERVICE.gid, "extra_groups": []} if os.getuid() == 0 else {}
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.counting_worker", json.dumps(settings)],
                cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=out, stderr=out, **identity,
            )  # fmt: skip
        worker = WorkerProcess(name, process, log)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        for worker in self.workers:
            if worker.is_alive:
                worker.process.kill()
            worker.process.wait(10)

    async def accept(self, store: MysqlStore, *, bus: JetStreamBus | None = None, **request: object) -> str:
        """A new job; its id. With a bus it is rung at once, as the server does; else the relay does it."""
        job_id = f"clone-{secrets.token_hex(6)}"
        new = NewJob(job_id, JobKind.CLONE, CUSTOMER, request, None, 1, timedelta(hours=1), clone_id=job_id)
        await store.accept(new, clone=NewClone(job_id, CUSTOMER, "local", "http://source.test", timedelta(hours=1)))
        return job_id

    async def open(self) -> MysqlStore:
        store = await open_mysql_store(self.mariadb, self.database)
        await with_customer(store)
        return store

    async def state(self, store: MysqlStore, job_id: str) -> Job:
        job = await store.get_job(job_id)
        assert job is not None
        return job

    def exists(self, job_id: str) -> list[str]:
        """The steps of the job whose effect is there."""
        rows = self.mariadb.execute("SELECT name FROM effects WHERE name LIKE %s", f"{job_id}/%", database=self.effects)
        return sorted((row[0].partition("/")[2] for row in rows), key=STEPS.index)

    def calls(self, job_id: str, what: str = "do") -> dict[str, int]:
        """How often each step was called."""
        sql = "SELECT name, COUNT(*) FROM calls WHERE name LIKE %s AND what = %s GROUP BY name"
        rows = self.mariadb.execute(sql, f"{job_id}/%", what, database=self.effects)
        return {name.partition("/")[2]: count for name, count in rows}

    def began(self, job_id: str, step: str, *, within: float = 20) -> None:
        until(lambda: self.calls(job_id).get(step), within=within)


async def ends(fleet: Fleet, store: MysqlStore, job_ids: list[str], *, within: float) -> list[Job]:
    """The jobs once all are terminal."""
    jobs: dict[str, Job] = {}
    try:
        async with asyncio.timeout(within):
            while len(jobs) < len(job_ids):
                with suppress(StoreUnavailable):
                    found = await store.get_jobs([job_id for job_id in job_ids if job_id not in jobs])
                    jobs |= {job_id: job for job_id, job in found.items() if job.state.is_terminal}
                await asyncio.sleep(0.05)
    except TimeoutError:
        open_jobs = [await fleet.state(store, job_id) for job_id in job_ids if job_id not in jobs]
        logs = "\n".join(worker.said()[-3000:] for worker in fleet.workers if worker.is_alive)
        raise AssertionError(
            f"not ended within {within} s: {[(j.job_id, j.state, j.steps) for j in open_jobs]}\n{logs}"
        ) from None
    return [jobs[job_id] for job_id in job_ids]


@contextmanager
def running_fleet(mariadb: Mariadb, nats: Nats) -> Iterator[Fleet]:
    """No worker yet; those that are started are killed afterwards."""
    with open_directory("fleet") as place, migrated_database(mariadb) as database, mariadb.database() as effects:
        SERVICE.own(place)
        for table in (EFFECTS, CALLS):
            mariadb.execute(table, database=effects)
        fleet = Fleet(mariadb, nats, database, effects, place)
        try:
            yield fleet
        finally:
            fleet.stop()


__all__ = ["Fleet", "JobState", "WorkerProcess", "ends", "running_fleet"]
