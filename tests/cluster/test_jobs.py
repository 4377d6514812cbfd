"""Whole clone jobs by real workers: pods that serve the source's content, and nothing left after the delete job."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.bench import clone_objects, in_thread, kubectl
from tests.cluster.control_plane import answers
from tests.cluster.job_yard import JobYard
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start_again, stop
from tests.support.hosting import fetch
from tests.support.wait import until_async
from workers.clone_databases import database_name
from workers.runtimes.cluster_api import JOBS, PODS, ClusterApi, Kind, connect
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import CloneState, JobState
from wpclone.core.supervise import end

pytestmark = pytest.mark.timeout(700)
STEPS = ("create_database", "create_site", "copy_files", "copy_tables", "guard")
KINDS = ["HTTPRoute", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "Secret", "Service", "Service"]


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
    await until_async(lambda: in_thread(lambda: not yard.left_of(clone_ids)), within=120)


def completed(jobs: list[Job]) -> None:
    assert [job.error for job in jobs if job.state is not JobState.COMPLETED] == []


async def test_a_clone_job_makes_a_whole_site_in_a_pod_and_a_delete_job_leaves_nothing(yard: JobYard) -> None:
    yard.start()
    clone_id = await yard.accept()
    completed(await yard.ended(clone_id, within=200))
    await is_whole(yard, clone_id)
    await deleted(yard, [clone_id], within=120)


@pytest.mark.full
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


@pytest.mark.full
async def test_a_pod_deleted_in_the_middle_of_the_copy_costs_the_job_nothing(yard: JobYard) -> None:
    yard.start()
    clone_id = await yard.accept()
    await yard.reached(clone_id, "copy_files", within=120)
    (before,) = await until_async(lambda: in_thread(yard.pods, clone_id), within=120)
    await in_thread(kubectl, "delete", "pod", before, "-n", yard.namespace, "--grace-period=1", "--wait=false")
    completed(await yard.ended(clone_id, within=200))
    assert before not in yard.pods(clone_id)
    await is_whole(yard, clone_id)


@pytest.mark.full
async def test_controllers_and_api_server_killed_in_the_middle_of_a_job_are_waited_for(
    yard: JobYard, own_cluster: ClusterPlace
) -> None:
    yard.start()
    clone_id = await yard.accept()
    await yard.reached(clone_id, "create_site", within=120)
    for name in ("controllers", "apiserver"):
        await in_thread(stop, own_cluster.directory, name, signal.SIGKILL)
    try:
        await until_async(lambda: in_thread(lambda: "reflector.waits" in yard.said()), within=120)
    finally:
        await in_thread(start_again, own_cluster.directory, "apiserver")
        # The controllers end at once where the API server does not know them yet.
        await until_async(lambda: in_thread(answers, own_cluster, "/readyz"), within=180, every=0.2)
        await in_thread(start_again, own_cluster.directory, "controllers")
    completed(await yard.ended(clone_id, within=240))
    await is_whole(yard, clone_id)
    await deleted(yard, [clone_id], within=120)


@pytest.mark.full
async def test_a_clone_that_ended_without_the_service_leaves_its_job_and_database_to_the_next_sweep(yard: JobYard) -> None:
    worker = yard.start()
    clone_id = await yard.accept()
    completed(await yard.ended(clone_id, within=200))
    worker.kill()
    await asyncio.to_thread(worker.wait, 10)
    patch = json.dumps({"spec": {"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 1}})
    await in_thread(kubectl, "patch", "job", clone_id, "-n", yard.namespace, "--type=merge", "-p", patch)
    await until_async(lambda: in_thread(lambda: clone_objects(yard.namespace) == {("Job", clone_id)}), within=180)
    assert {each.split()[0] for each in yard.left_of([clone_id])} == {"Job", "database", "user"}
    yard.start()
    await until_async(lambda: in_thread(lambda: not yard.left_of([clone_id])), within=180)
    clone = await yard.store.get_clone(clone_id)
    assert clone is not None
    assert clone.state in (CloneState.DELETING, CloneState.DELETED)


@pytest.mark.full  # a machine with other work cannot be held to these seconds
async def test_an_image_that_cannot_be_pulled_is_in_the_jobs_message_a_second_after_the_cluster_knows(yard: JobYard) -> None:
    """Measured against a watch of our own: from the Job's release to the pod's words, and from there to the job's message."""
    image = "127.0.0.1:1/wpclone/absent:1"
    yard.settings["WPCLONE_KUBERNETES_IMAGE"] = image
    known: dict[str, float] = {}
    async with connect(Path(yard.settings["WPCLONE_KUBERNETES_KUBECONFIG"])) as api:
        watching = [asyncio.create_task(noted(api, yard.namespace, kind, known)) for kind in (JOBS, PODS)]
        try:
            yard.start()
            clone_id = await yard.accept()
            told = await until_async(lambda: message_with(yard, clone_id, image), within=120, every=0.02)
            at = time.monotonic()
            await until_async(lambda: in_thread(lambda: len(known) == 2), within=10)
        finally:
            await end(*watching)
    print(f"from release to message {at - known['jobs']:.2f} s, from the pod's state to message {at - known['pods']:.2f} s")
    assert "connection refused" in told or "cannot be pulled" in told
    assert at - known["pods"] < 1
    assert at - known["jobs"] < 5


async def message_with(yard: JobYard, clone_id: str, words: str) -> str:
    """The job's status message when it has these words."""
    job = await yard.store.get_job(clone_id)
    return job.status_message if job and words in job.status_message else ""


async def noted(api: ClusterApi, namespace: str, kind: Kind, known: dict[str, float]) -> None:
    """Write down when a Job was released, and when a pod's image was first said not to come."""
    async for line in api.watch(kind, namespace, "", "0", seconds=200):
        thing = json.loads(line)["object"]
        waits = "ImagePull" in line.decode() and "127.0.0.1:1" in line.decode()
        if waits if kind is PODS else thing.get("spec", {}).get("suspend") is False:
            known.setdefault(kind.plural, time.monotonic())


@pytest.mark.full
@pytest.mark.timeout(1200)
async def test_many_clone_jobs_at_once_each_make_a_whole_site_and_leave_nothing(yard: JobYard) -> None:
    clone_ids = [await yard.accept() for _ in range(int(os.environ.get("CLUSTER_MANY", "20")))]
    yard.start(slots=len(clone_ids))
    completed(await yard.ended(*clone_ids, within=1800))
    for clone_id in clone_ids:
        await is_whole(yard, clone_id)
    await deleted(yard, clone_ids, within=240)
