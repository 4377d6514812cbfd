"""A site, a clone of it and restores between them, run by the real plans; store and bus in memory."""

import asyncio
import json
import os
import random
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from tests.integration.test_clone_plan import CUSTOMER, SEED, Yard
from tests.support.source_site import LOCAL
from workers.clone_agent import clone_agent_address
from workers.clone_databases import CloneDatabases, DatabaseServer, database_name
from workers.clone_records import CloneRecords
from workers.failpoints import Failpoints
from workers.orders import Orders
from workers.plans import Plans
from workers.restore_plan import RestoreTools, restore_plans
from workers.restore_sites import RestoreSites
from workers.runner import Runner, Tools
from workers.sources import Sources
from workers.steps.preflight import Room, free_bytes
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.job import Job, NewJob
from wpclone.core.jobs.site_key import site_key
from wpclone.core.jobs.states import JobKind, JobState, KeptState
from wpclone.core.kept_sets import leaving_job
from wpclone.core.metrics import Metrics
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.agent.client import AgentAddress


@dataclass
class Shop:
    """A source with its clone, both written to by tests, and restores from the one to the other."""

    yard: Yard
    clone_id: str = ""
    policy: AddressPolicy = LOCAL

    async def clone(self) -> None:
        job = await self.yard.clone(self.login)
        assert job.state is JobState.COMPLETED, job.error
        self.clone_id = job.job_id

    async def clone_again(self) -> None:
        """A fresh clone in the place of the one there is."""
        await self.yard.delete(self.clone_id)
        await self.clone()

    @property
    def clone_url(self) -> str:
        return str(self._clone_site()["url"])

    def write_clone(self, path: str, content: bytes) -> None:
        """Change a file of the clone, as its own user would."""
        site = self._clone_site()
        file = Path(site["docroot"]) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if os.getuid() == 0:
            os.chown(file, site["uid"], site["gid"])

    async def clone_agent_given(self) -> dict[str, str]:
        """The clone's agent as somebody would give it: its address and key."""
        clone = await self.yard.store.get_clone(self.clone_id)
        assert clone is not None
        address = self._agent_of(clone.url, self.yard.keys.decrypt(clone.guard_key or b"", clone.clone_id))
        return {"url": address.url, "key": address.key.hex()}

    def _clone_site(self) -> dict[str, Any]:
        return self.yard.keeper.ask("describe", clone_id=self.clone_id)

    @property
    def login(self) -> dict[str, str]:
        return {"username": self.yard.source.site.admin, "password": self.yard.source.site.password}

    def at_clone(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.yard.mariadb.execute(sql, *values, database=database_name(self.clone_id))

    def at_target(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.yard.mariadb.execute(sql, *values, database=self.yard.source.site.database)

    async def restore(self, **request: Any) -> Job:
        job = await self.accept(**request)
        return await self.run(job.job_id)

    async def accept(
        self, *, clone_id: str | None = "", source: dict[str, str] | None = None, target: dict[str, str] | None = None,
        **request: Any,
    ) -> Job:  # fmt: skip
        job_id = f"restore-{secrets.token_hex(6)}"
        url = self.yard.source.url
        asked: dict[str, object] = {"target_url": url, "target_kind": "admin_login", **request}
        known = {"seed": SEED, "source": source or {}, "target": target or self.login}
        blob = self.yard.keys.encrypt(json.dumps(known).encode(), job_id)
        held = self.clone_id if clone_id == "" else clone_id
        new = NewJob(job_id, JobKind.RESTORE, CUSTOMER, asked, blob, 1, timedelta(hours=1), clone_id=held)
        return await self.yard.store.begin_restore(new, site_key=site_key(str(asked["target_url"])))

    async def leave(self, restore: Job, becomes: KeptState) -> Job:
        new = leaving_job(restore, becomes, self.yard.keys, os.urandom)
        key = site_key(restore.request["target_url"])
        job = await self.yard.store.begin_leaving(new, of=restore.job_id, becomes=becomes, site_key=key)
        return await self.run(job.job_id)

    async def run(self, job_id: str, *, failpoint: str = "") -> Job:
        runner, store = self.runner(failpoint), self.yard.store
        async with asyncio.timeout(900):
            while True:
                claim = await store.claim(job_id, worker="w1")
                if claim is not None:
                    await runner.run(claim, Orders())
                job = await store.get_job(job_id)
                assert job is not None
                if job.state.is_terminal:
                    return job
                await asyncio.sleep(0.05)

    def runner(self, failpoint: str) -> Runner:
        yard, clock = self.yard, SystemClock()
        server = DatabaseServer("127.0.0.1", yard.mariadb.place.port, "root", yard.mariadb.password)
        databases = CloneDatabases(server, user_host="127.0.0.1", randomness=os.urandom)
        sources = Sources(self.policy, time.time, random.SystemRandom())
        sites = RestoreSites(sources, CloneRecords(yard.store, yard.keys), self._agent_of)
        room = Room(yard.work, yard.most_bytes, free_bytes)
        plans = Plans(restore_plans(RestoreTools(sites, databases, room, timedelta(hours=1))))
        bench = Tools(yard.store, MemoryBus(), yard.keys, clock, lambda: 0.1, Failpoints(failpoint), Metrics(CollectorRegistry()))
        return Runner(plans, bench, on_stuck=lambda job_id: None)

    def _agent_of(self, url: str, key: bytes) -> AgentAddress:
        """Without an Envoy before the clones: by the clone's own port."""
        site = self.yard.keeper.ask("describe", clone_id=(urlsplit(url).hostname or "").partition(".")[0])
        return clone_agent_address(f"http://127.0.0.1:{site['port']}", key)

    def traces(self) -> list[str]:
        """What restores left at the target and here."""
        left = [row[0] for row in self.at_target("SHOW TABLES LIKE 'wpcr%%'") + self.at_target("SHOW TABLES LIKE 'wpco%%'")]
        content = self.yard.source.docroot / "wp-content"
        left += [str(path) for path in (*content.glob(".wpclone*"), *content.glob("plugins/wpc-*"))]
        left += [row[0] for row in self.yard.mariadb.execute("SHOW DATABASES LIKE %s", "wpc\\_r%")]
        left += [".maintenance"] if (self.yard.source.docroot / ".maintenance").exists() else []
        return left
