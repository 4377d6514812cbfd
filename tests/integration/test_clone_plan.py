"""The whole clone and delete plans on a real source, a real keeper and a real MariaDB; store and bus in memory."""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry

from tests.support.hosting import HostingRun, fetch, new_clone_id, running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import LOCAL, SourceSite
from tests.support.wait import until_async
from workers.clone_agent import clone_agent_address
from workers.clone_databases import CloneDatabases, DatabaseServer, database_name
from workers.clone_plan import VERSION, CloneTools, clone_plans
from workers.clone_records import CloneRecords
from workers.delete_plan import delete_plan
from workers.failpoints import Failpoints
from workers.neighbours import Neighbours
from workers.orders import Orders
from workers.pages import Page
from workers.plans import Plans
from workers.runner import Runner, Tools
from workers.runtimes import Content, Place, Tell, quietly
from workers.runtimes.local import LocalRuntime
from workers.sources import Sources
from workers.steps.guard import GuardRoom
from workers.steps.preflight import Room, free_bytes
from wpclone.core.bus.memory import MemoryBus
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.job import Job, Limits, NewClone, NewJob
from wpclone.core.jobs.states import JobKind, JobState
from wpclone.core.metrics import Metrics
from wpclone.core.secrets import KeyRing, derive, password
from wpclone.core.store.memory import MemoryStore
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.near_files import Brought
from wpclone.wordpress.session import SiteSession

CUSTOMER = "acme"
SEED = "5e" * 32


@dataclass
class DirectPages:
    """Pages by the clone's own Apache: no Envoy stands before it here."""

    keeper: HostingRun

    async def get(self, url: str) -> Page:
        host = urlsplit(url).netloc
        site = await asyncio.to_thread(self.keeper.ask, "describe", clone_id=host.partition(".")[0])
        page = await asyncio.to_thread(fetch, site["port"], host)
        return Page(url, page.status, page.body)


class HandingRuntime(LocalRuntime):
    """A worker runs as the service; a test that runs as root hands over what it staged."""

    brought: ClassVar[list[bytes]] = []

    async def expose(self, clone_id: str, content: Content, tell: Tell = quietly) -> Place:
        place = await self.ready(clone_id)
        if os.getuid() == 0 and place.staging is not None and place.staging.exists():
            for path in [place.staging, *place.staging.rglob("*")]:
                os.lchown(path, SERVICE.uid, SERVICE.gid)
        return await super().expose(clone_id, content, tell)

    async def bring(self, clone_id: str, source: str, into: str, paths: Sequence[bytes]) -> list[Brought]:
        place = await self.ready(clone_id)
        if os.getuid() == 0 and place.staging is not None:
            for path in (place.staging / into, (place.staging / into).parent):
                os.chown(path, SERVICE.uid, SERVICE.gid)
        found = await super().bring(clone_id, source, into, paths)
        self.brought.extend(path for path, one in zip(paths, found, strict=True) if one.is_whole)
        return found


@dataclass
class Yard:
    """Where clones are made."""

    source: SourceSite
    mariadb: Mariadb
    keeper: HostingRun
    work: Path
    keys: KeyRing
    free: int = 1 << 40
    most_bytes: int = 1 << 40
    store: MemoryStore = field(default_factory=lambda: MemoryStore(SystemClock()))

    def runtime(self) -> HandingRuntime:
        return HandingRuntime(self.keeper.place.socket)

    def agent_of(self, url: str, guard_key: bytes) -> AgentAddress:
        """At the clone's own Apache: no Envoy stands before it here."""
        port = self.keeper.ask("describe", clone_id=(urlsplit(url).hostname or "").partition(".")[0])["port"]
        return clone_agent_address(f"http://127.0.0.1:{port}", guard_key)

    def runner(self) -> Runner:
        server = DatabaseServer("127.0.0.1", self.mariadb.place.port, "root", self.mariadb.password)
        databases = CloneDatabases(server, user_host="127.0.0.1", randomness=os.urandom)
        runtime, clock, records = self.runtime(), SystemClock(), CloneRecords(self.store, self.keys)
        tools = CloneTools(
            Sources(LOCAL, time.time, random.SystemRandom(), Neighbours(records, runtime, self.agent_of)), databases,
            GuardRoom(runtime, records, clock.now),
            Room(self.work, self.most_bytes, lambda path: min(self.free, free_bytes(path))), DirectPages(self.keeper), self.work,  # type: ignore[arg-type]
        )  # fmt: skip
        plans = Plans([*clone_plans(tools), delete_plan(runtime, databases, self.work)])
        bench = Tools(
            self.store, MemoryBus(), self.keys, clock, lambda: 0.1, Failpoints(), Metrics(CollectorRegistry())
        )  # fmt: skip
        return Runner(plans, bench, on_stuck=lambda job_id: None)

    async def accept(self, source: dict[str, str], *, url: str = "", **request: object) -> str:
        await self.store.create_customer(CUSTOMER, Limits())
        clone_id = new_clone_id()
        kind = "agent" if "agent_key" in source else "admin_login"
        asked = {"source_url": url or self.source.url, "source_kind": kind, "ttl_minutes": 60, "keep_constants": [], **request}
        secrets = self.keys.encrypt(json.dumps({"seed": SEED, "source": source}).encode(), clone_id)
        guard_key = self.keys.encrypt(derive(bytes.fromhex(SEED), "guard"), clone_id)
        hour = timedelta(hours=1)
        await self.store.accept(
            NewJob(clone_id, JobKind.CLONE, CUSTOMER, asked, secrets, VERSION, hour, clone_id=clone_id),
            clone=NewClone(clone_id, CUSTOMER, "local", self.source.url, hour, guard_key),
        )
        return clone_id

    async def run(self, job_id: str) -> Job:
        """Run the job to its end, through all its pauses."""
        runner = self.runner()
        async with asyncio.timeout(100):
            while True:
                claim = await self.store.claim(job_id, worker="w1")
                if claim is not None:
                    await runner.run(claim, Orders())
                job = await self.store.get_job(job_id)
                assert job is not None
                if job.state.is_terminal:
                    return job
                await asyncio.sleep(0.05)

    async def clone(self, source: dict[str, str], *, url: str = "", **request: object) -> Job:
        return await self.run(await self.accept(source, url=url, **request))

    async def dry_run(self, source: dict[str, str], **request: object) -> Job:
        await self.store.create_customer(CUSTOMER, Limits())
        job_id = new_clone_id()
        asked = {"source_url": self.source.url, "source_kind": "admin_login", "ttl_minutes": 60, "dry_run": True, **request}
        secrets = self.keys.encrypt(json.dumps({"seed": SEED, "source": source}).encode(), job_id)
        await self.store.accept(NewJob(job_id, JobKind.CLONE, CUSTOMER, asked, secrets, VERSION, timedelta(hours=1)))
        return await self.run(job_id)

    async def delete(self, clone_id: str) -> Job:
        new = NewJob(
            clone_id.replace("clone", "delete"), JobKind.DELETE, CUSTOMER, {"clone_id": clone_id}, None, 1, timedelta(hours=1),
            clone_id=clone_id,
        )  # fmt: skip
        return await self.run((await self.store.begin_delete(new)).job_id)

    def left_of(self, clone_id: str) -> list[str]:
        """What is still there of a clone."""
        name = database_name(clone_id)
        left = [f"place {site['clone_id']}" for site in self.keeper.ask("list")["clones"] if site["clone_id"] == clone_id]
        left += [f"database {row[0]}" for row in self.mariadb.execute("SHOW DATABASES LIKE %s", name.replace("_", r"\_") + "%")]
        left += [f"user {row[0]}" for row in self.mariadb.execute("SELECT User FROM mysql.global_priv WHERE User = %s", name)]
        return left + [f"cursor {path.name}" for path in self.work.glob(clone_id)]

    def agents(self) -> list[str]:
        """Our agents at the source."""
        return [path.name for path in (self.source.docroot / "wp-content" / "plugins").glob("wpc-*")]


@pytest.fixture
def yard(source_site: SourceSite, mariadb_server: Mariadb) -> Iterator[Yard]:
    with running_keeper(mariadb_server.place.port) as keeper, open_directory("work") as work:
        SERVICE.own(work)
        yield Yard(source_site, mariadb_server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom))


def admin(yard: Yard) -> dict[str, str]:
    return {"username": yard.source.site.admin, "password": yard.source.site.password}


@asynccontextmanager
async def cloned(yard: Yard) -> AsyncIterator[Job]:
    job = await yard.clone(admin(yard))
    assert job.state is JobState.COMPLETED, job.error
    yield job
    deleted = await yard.delete(job.job_id)
    assert (deleted.state, yard.left_of(job.job_id)) == (JobState.COMPLETED, [])


async def test_a_clone_by_sign_in_serves_the_sites_pages_and_leaves_the_source_without_an_agent(yard: Yard) -> None:
    async with cloned(yard) as job:
        assert job.result is not None
        host = urlsplit(job.result["clone_url"]).netloc
        site = yard.keeper.ask("describe", clone_id=job.job_id)
        page = fetch(site["port"], host)
        assert (page.status, "</html>" in page.body) == (200, True)
        assert urlsplit(yard.source.url).netloc not in page.body
        assert job.result["rows"] > 0
        assert job.result["files"] > 100
        assert job.result["username"] == admin(yard)["username"]
        assert job.result["report"]["agent"] == "removed"
        assert job.result["consistency"] in {"SNAPSHOT", "FUZZY"}
        assert yard.agents() == []
        base = next(step.facts["rows"] for step in job.steps if step.name == "record_base")
        assert job.result["rows"] - 20 < base <= job.result["rows"]  # a table without a key is remembered as a whole
        assert password(bytes.fromhex(SEED), "admin") not in json.dumps([dict(step.facts) for step in job.steps])


async def test_a_clone_by_a_given_agent_keeps_the_agent(yard: Yard) -> None:
    address = yard.source.put_agent()
    job = await yard.clone({"agent_key": address.key.hex()}, url=address.url)
    assert job.state is JobState.COMPLETED, job.error
    assert job.result is not None
    assert job.result["report"]["agent"] == "kept"
    await yard.delete(job.job_id)


@pytest.mark.parametrize("case", ["wrong password", "nobody there", "too large", "too little space", "not WordPress"])
async def test_a_source_that_cannot_be_cloned_fails_with_its_reason_and_leaves_nothing(yard: Yard, case: str) -> None:
    source, url, reason = admin(yard), "", ""
    if case == "wrong password":
        source, reason = {**source, "password": "wrong"}, "LOGIN_REFUSED"
    elif case == "nobody there":
        url, reason = "http://127.0.0.1:9", "SOURCE_UNREACHABLE"
    elif case == "too large":
        yard.most_bytes, reason = 1000, "SITE_TOO_LARGE"
    elif case == "too little space":
        yard.free, reason = 1000, "TOO_LITTLE_SPACE"
    else:
        url, reason = f"{yard.source.url}/wp-includes/images", ""
    job = await yard.clone(source, url=url)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.reason == reason or not reason
    assert job.error.reason != "INTERNAL"
    assert (yard.left_of(job.job_id), yard.agents(), job.needs_attention) == ([], [], False)


async def test_a_dry_run_tells_all_and_leaves_nothing_anywhere(yard: Yard) -> None:
    zipped = yard.source.put("wp-content/uploads/big.zip", b"x" * 1000)
    yard.most_bytes = 1000
    try:
        job = await yard.dry_run(admin(yard), exclude_paths=["*/big.zip"], exclude_tables=["no_such_*"])
    finally:
        zipped.unlink()
    assert job.state is JobState.COMPLETED, job.error
    assert job.result is not None
    report = job.result["report"]
    assert [step.name for step in job.steps] == ["reach_source", "preflight", "release_source"]
    assert (report["dry_run"], report["agent"]) == (True, "removed")
    assert [refusal["reason"] for refusal in report["refusals"]] == ["SITE_TOO_LARGE"]
    assert job.result["bytes"] == report["file_bytes"] + report["table_bytes"] < report["room"]["needed_bytes"]
    assert job.result["files"] > 100
    assert {table["name"] for table in report["tables"]} >= {"wp_posts", "wp_options"}
    assert list(report["excluded"]) == [
        {"kind": "path", "glob": "*/big.zip", "count": 1, "bytes": 1000},
        {"kind": "table", "glob": "no_such_*", "count": 0, "bytes": 0},
    ]
    assert "wp-config.php" in {item["name"] for item in report["left_out_files"]}
    assert await yard.store.get_clone(job.job_id) is None
    assert (yard.left_of(job.job_id), yard.agents(), job.needs_attention) == ([], [], False)


async def test_a_cancel_in_the_copy_leaves_nothing_behind(yard: Yard) -> None:
    job_id = await yard.accept(admin(yard))
    orders, claim = Orders(), await yard.store.claim(job_id, worker="w1")
    assert claim is not None
    running = asyncio.create_task(yard.runner().run(claim, orders))

    async def is_copying() -> bool:
        return any(step.name == "copy_files" for step in (await _job(yard, job_id)).steps)

    await until_async(is_copying, within=60, every=0.005)
    await yard.store.request_cancel(job_id)
    orders.cancel()
    await running
    job = await yard.run(job_id) if not (await _job(yard, job_id)).state.is_terminal else await _job(yard, job_id)
    assert job.state is JobState.CANCELLED
    assert (yard.left_of(job_id), yard.agents(), job.needs_attention) == ([], [], False)


async def _job(yard: Yard, job_id: str) -> Job:
    job = await yard.store.get_job(job_id)
    assert job is not None
    return job


async def test_a_clones_own_agent_reads_it_and_nobody_else_does(yard: Yard) -> None:
    async with cloned(yard) as job:
        assert job.result is not None
        host = urlsplit(job.result["clone_url"]).netloc
        port = yard.keeper.ask("describe", clone_id=job.job_id)["port"]
        clone = await yard.store.get_clone(job.job_id)
        assert clone is not None
        guard_key = yard.keys.decrypt(clone.guard_key or b"", clone.clone_id)
        address = clone_agent_address(f"http://127.0.0.1:{port}", guard_key)
        async with SiteSession(LOCAL, clock=time.time, chance=random.SystemRandom()) as session:
            report = await inspect(AgentClient(session, address))
            with pytest.raises(SiteError) as refused:
                await AgentClient(session, AgentAddress(address.url, bytes(32))).hello()
        assert (report.home, report.table_prefix) == (job.result["clone_url"], "wp_")
        assert report.files == job.result["files"]
        assert refused.value.reason is Reason.AGENT_REFUSED
        assert (await asyncio.to_thread(fetch, port, host, "/index.php/wpclone-agent.php")).status == 404


async def test_a_site_behind_a_web_servers_password_is_cloned_with_it_and_nobody_is_told(yard: Yard) -> None:
    passwords = yard.source.place / "passwords"
    passwords.write_text("visitor:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n")  # "pass"
    rules = yard.source.docroot / ".htaccess"
    before = rules.read_bytes()
    basic = f'AuthType Basic\nAuthName "x"\nAuthUserFile {passwords}\nRequire valid-user\n'
    yard.source.put(".htaccess", basic.encode() + before)
    try:
        refused = await yard.clone(admin(yard))
        job = await yard.clone({**admin(yard), "basic": "visitor:pass"})
    finally:
        yard.source.put(".htaccess", before)
    assert refused.error is not None
    assert refused.error.reason == "SOURCE_BASIC_AUTH"
    assert job.state is JobState.COMPLETED, job.error
    assert "visitor" not in json.dumps([dict(step.facts) for step in job.steps]) + json.dumps(dict(job.request))
    await yard.delete(job.job_id)
