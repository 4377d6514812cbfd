"""Whole clone jobs by real workers: pods that serve the source's content, and nothing left after the delete job."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.conftest import Clusterwide, Volumes, clone_objects, in_thread
from tests.cluster.job_yard import JobYard, job_yard
from tests.support.hosting import fetch
from tests.support.servers import Mariadb, Nats
from tests.support.source_site import SourceSite, running_source_site
from tests.support.wait import until_async
from workers.clone_databases import database_name
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState

pytestmark = pytest.mark.timeout(420)
STEPS = ("create_database", "create_site", "copy_files", "copy_tables", "guard")
KINDS = ["HTTPRoute", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "Secret", "Service", "Service"]


@pytest.fixture(scope="module")
def source(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    with running_source_site(mariadb_server) as running:
        yield running


@pytest.fixture
async def yard(
    cluster: Clusterwide, clone_image: str, volumes: Volumes, mariadb_server: Mariadb, nats_server: Nats, source: SourceSite
) -> AsyncIterator[JobYard]:
    async with job_yard(cluster, clone_image, volumes, mariadb_server, nats_server, source) as opened:
        yield opened


async def page(clone_id: str, yard: JobYard, path: str = "/") -> str:
    """What the Gateway answers for this clone's host."""
    port = int(yard.settings["WPCLONE_KUBERNETES_PUBLIC_PORT"])
    answer = await in_thread(fetch, port, f"{clone_id}.localhost:{port}", path)
    return f"{answer.status} {answer.body}"


def uploads(docroot: Path) -> dict[str, bytes]:
    """Every uploaded file and what is in it."""
    root = docroot / "wp-content" / "uploads"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def is_whole(yard: JobYard, clone_id: str) -> None:
    """Fail unless the clone has the source's rows and files, shows them at its own address, and has exactly its objects."""
    posts = "SELECT post_title FROM wp_posts WHERE post_status = 'publish' AND post_type = 'post' LIMIT 1"
    title = str(yard.source.sql(posts)[0][0])
    shown = await page(clone_id, yard)
    assert shown.startswith("200"), shown[:300]
    assert title in shown
    assert urlsplit(yard.source.url).netloc not in shown
    count = "SELECT COUNT(*) FROM wp_posts"
    copied = await in_thread(lambda: yard.mariadb.execute(count, database=database_name(clone_id)))
    assert copied == yard.source.sql(count)
    assert (await page(clone_id, yard, "/wp-content/uploads/2025/10/picture-1.jpg")).startswith("200")
    volume = yard.volumes.directory / clone_id
    assert uploads(next(volume.rglob("docroot"))) == uploads(yard.source.docroot)
    assert sorted(kind for kind, name in clone_objects(yard.namespace) if name.startswith(clone_id)) == KINDS


async def deleted(yard: JobYard, clone_ids: list[str], *, within: float) -> None:
    """Delete them all; fail unless no object, database or user is left."""
    jobs = [await yard.delete(clone_id) for clone_id in clone_ids]
    assert {job.state for job in await yard.ended(*jobs, within=within)} == {JobState.COMPLETED}
    await until_async(lambda: in_thread(lambda: not yard.left_of(clone_ids)), within=60)


def completed(jobs: list[Job]) -> None:
    assert [job.error for job in jobs if job.state is not JobState.COMPLETED] == []


async def test_a_clone_job_makes_a_whole_site_in_a_pod_and_a_delete_job_leaves_nothing(yard: JobYard) -> None:
    yard.start()
    clone_id = await yard.accept()
    completed(await yard.ended(clone_id, within=200))
    await is_whole(yard, clone_id)
    await deleted(yard, [clone_id], within=120)


async def test_jobs_whose_worker_is_killed_after_any_effect_are_finished_by_another(yard: JobYard) -> None:
    clone_ids = []
    for step in STEPS:
        clone_ids.append(await yard.accept())
        worker = yard.start(f"{step}.after_effect:kill", slots=1)
        assert await asyncio.to_thread(worker.wait, 120) == -signal.SIGKILL
    yard.start()
    completed(await yard.ended(*clone_ids, within=240))
    for clone_id in clone_ids:
        await is_whole(yard, clone_id)
    await deleted(yard, clone_ids, within=120)


@pytest.mark.skipif(not os.environ.get("CLUSTER_MANY"), reason="takes minutes: set CLUSTER_MANY=20")
@pytest.mark.timeout(1200)
async def test_many_clone_jobs_at_once_each_make_a_whole_site_and_leave_nothing(yard: JobYard) -> None:
    clone_ids = [await yard.accept() for _ in range(int(os.environ["CLUSTER_MANY"]))]
    yard.start(slots=len(clone_ids))
    completed(await yard.ended(*clone_ids, within=900))
    for clone_id in clone_ids:
        await is_whole(yard, clone_id)
    await deleted(yard, clone_ids, within=240)
