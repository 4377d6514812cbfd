"""Whole jobs on a real cluster: worker processes on this machine, a source site and the clones' MySQL beside it, pods for clones.

The worker reads the source on loopback. Pods reach MySQL through a port on the node's bridge: no server listens there itself.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.cluster.bench import Clusterwide, Volumes, clone_objects, in_thread, kubectl
from tests.support.fault_proxy import fault_proxy
from tests.support.hosting import new_clone_id
from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Mariadb, Nats
from tests.support.source_site import SourceSite
from tests.support.stores import migrated_database, open_mysql_store, with_customer
from tests.support.wait import until_async
from workers.clone_databases import database_name
from workers.clone_plan import VERSION
from workers.delete_plan import VERSION as DELETE_VERSION
from wpclone.core.jobs.job import Job, Limits, NewClone, NewJob
from wpclone.core.jobs.states import JobKind
from wpclone.core.secrets import KeyRing, derive
from wpclone.core.store.mysql import MysqlStore

ROOT = Path(__file__).parents[2]
CUSTOMER = "acme"


@dataclass
class JobYard:
    """A namespace for clones, and everything around a worker that makes them there."""

    namespace: str
    source: SourceSite
    mariadb: Mariadb
    store: MysqlStore
    volumes: Volumes
    settings: dict[str, str]
    keys: KeyRing
    place: Path
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start(self, failpoint: str = "", *, slots: int = 8, program: tuple[str, ...] = ("workers",)) -> "subprocess.Popen[bytes]":
        """`python -m workers`, as the account that the service has; or another program that is one."""
        env = self.settings | {
            "WPCLONE_FAILPOINT": failpoint, "WPCLONE_WORKER_SLOTS": str(slots),
            "WPCLONE_WORKER_NAME": f"w{len(self.workers) + 1}",
            "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        }  # fmt: skip
        identity: dict[str, Any] = {"user": SERVICE.uid, "group": SERVICE.gid, "extra_groups": []} if os.getuid() == 0 else {}
        with (self.place / "workers.log").open("ab") as log:
            words = [sys.executable, "-m", *program]
            worker = subprocess.Popen(words, env=env, cwd="/", stdout=log, stderr=log, **identity)
        self.workers.append(worker)
        return worker

    async def accept(self) -> str:
        """A clone job of the source, and the volume that its claim will ask for; its id."""
        clone_id = new_clone_id()
        await in_thread(self.volumes.make, self.namespace, clone_id)
        login = {"username": self.source.site.admin, "password": self.source.site.password}
        asked = {"source_url": self.source.url, "source_kind": "admin_login", "ttl_minutes": 60, "keep_constants": []}
        seed = os.urandom(32)  # one a job: it names the agent at the source, and jobs run side by side
        secrets = self.keys.encrypt(json.dumps({"seed": seed.hex(), "source": login}).encode(), clone_id)
        guard_key = self.keys.encrypt(derive(seed, "guard"), clone_id)
        hour = timedelta(hours=1)
        await self.store.accept(
            NewJob(clone_id, JobKind.CLONE, CUSTOMER, asked, secrets, VERSION, hour, clone_id=clone_id),
            clone=NewClone(clone_id, CUSTOMER, "kubernetes", self.source.url, hour, guard_key),
        )
        return clone_id

    async def delete(self, clone_id: str) -> str:
        """A delete job of a clone; its id."""
        new = NewJob(
            clone_id.replace("clone", "delete"), JobKind.DELETE, CUSTOMER, {"clone_id": clone_id}, None, DELETE_VERSION,
            timedelta(hours=1), clone_id=clone_id,
        )  # fmt: skip
        return (await self.store.begin_delete(new)).job_id

    async def ended(self, *job_ids: str, within: float) -> list[Job]:
        """The jobs once all of them are terminal."""
        jobs: dict[str, Job] = {}
        try:
            async with asyncio.timeout(within):
                while not jobs or not all(job.state.is_terminal for job in jobs.values()):
                    jobs = await self.store.get_jobs(list(job_ids))
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not ended within {within} s: {list(jobs.values())}\n{self.said()[-4000:]}") from None
        return [jobs[job_id] for job_id in job_ids]

    async def reached(self, job_id: str, step: str, *, within: float) -> None:
        """Return once this step of the job has begun."""

        async def has_begun() -> bool:
            job = await self.store.get_job(job_id)
            return job is not None and any(each.name == step for each in job.steps)

        await until_async(has_begun, within=within, every=0.02)

    def pods(self, clone_id: str) -> list[str]:
        """The names of the clone's pods that are not on their way out."""
        told = json.loads(kubectl("get", "pods", "-n", self.namespace, "-l", f"wpclone.io/clone={clone_id}", "-o", "json"))
        return [item["metadata"]["name"] for item in told["items"] if "deletionTimestamp" not in item["metadata"]]

    def left_of(self, clone_ids: list[str]) -> list[str]:
        """What is still there of these clones: objects in the cluster, databases and users on MySQL."""
        names = [database_name(clone_id) for clone_id in clone_ids]
        left = [f"{kind} {name}" for kind, name in clone_objects(self.namespace) if name[:18] in clone_ids]
        left += [f"database {row[0]}" for row in self.mariadb.execute(r"SHOW DATABASES LIKE 'wpc\_%'") if row[0][:16] in names]
        users = self.mariadb.execute("SELECT User FROM mysql.global_priv WHERE User LIKE %s", r"wpc\_%")
        return left + [f"user {row[0]}" for row in users if row[0] in names]

    def said(self) -> str:
        """What all workers logged."""
        path = self.place / "workers.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End the workers that still run."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait(10)


@asynccontextmanager
async def job_yard(
    cluster: Clusterwide, image: str, volumes: Volumes, mariadb: Mariadb, nats: Nats, source: SourceSite
) -> AsyncIterator[JobYard]:
    """No worker yet; whatever was made is gone afterwards."""
    own = cluster.own
    assert own is not None
    async with AsyncExitStack() as stack:
        namespace = stack.enter_context(cluster.namespace())
        place = stack.enter_context(open_directory("jobs"))
        kubeconfig = cluster.worker_kubeconfig(namespace, place)
        KeyRing.create(place / "keys.json", os.urandom)
        for path in (place, kubeconfig, place / "keys.json"):
            SERVICE.own(path)
        # The same port at the bridge's address: a worker has one setting for both.
        stack.enter_context(fault_proxy(mariadb.place.port, listens=(own.address, mariadb.place.port)))
        database = stack.enter_context(migrated_database(mariadb))
        store = await open_mysql_store(mariadb, database)
        stack.push_async_callback(store.close)
        await with_customer(store, CUSTOMER, Limits())
        settings = {
            "WPCLONE_RUNTIME": "kubernetes",
            "WPCLONE_DATABASE_URL": mariadb.url(database), "WPCLONE_NATS_URL": nats.url,
            "WPCLONE_KEY_RING_FILE": str(place / "keys.json"), "WPCLONE_WORK_DIR": str(place / "work"),
            "WPCLONE_CLONES_DATABASE_URL": f"mysql://root:{mariadb.password}@127.0.0.1:{mariadb.place.port}/",
            "WPCLONE_ALLOW_PRIVATE_SOURCES": "true",
            "WPCLONE_KUBERNETES_KUBECONFIG": str(kubeconfig), "WPCLONE_KUBERNETES_NAMESPACE": namespace,
            "WPCLONE_KUBERNETES_IMAGE": image, "WPCLONE_KUBERNETES_HOST_SUFFIX": "localhost",
            "WPCLONE_KUBERNETES_SCHEME": "http", "WPCLONE_KUBERNETES_PUBLIC_PORT": str(own.gateway_port),
            "WPCLONE_KUBERNETES_DATABASE_HOST": own.address,
            "WPCLONE_KUBERNETES_DATABASE_CIDR": f"{own.network}.0/24",
            "WPCLONE_KUBERNETES_STORAGE": "64Mi", "WPCLONE_KUBERNETES_CPU_REQUEST": "20m",
            "WPCLONE_KUBERNETES_MEMORY_REQUEST": "64Mi", "WPCLONE_KUBERNETES_POD_SECONDS": "200",
            "PATH": "/usr/bin:/bin", "HOME": str(place), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        keys = KeyRing.from_file(place / "keys.json")
        yard = JobYard(namespace, source, mariadb, store, volumes, settings, keys, place)
        stack.callback(yard.stop)
        yield yard
