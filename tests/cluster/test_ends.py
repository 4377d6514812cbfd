"""How clones end on a real cluster without the service, and what a worker makes of it afterwards."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.bench import ClusterBench, Clusterwide, in_thread, kubectl
from tests.support.hosting import new_clone_id
from tests.support.wait import until_async
from wpclone.core.jobs.errors import Fatal

pytestmark = pytest.mark.timeout(500)


@pytest.fixture
async def bench(cluster: Clusterwide) -> AsyncIterator[ClusterBench]:
    async with cluster.bench() as opened:
        yield opened


async def only_the_job_is_left(bench: ClusterBench, clone_id: str) -> None:
    await until_async(lambda: in_thread(lambda: bench.objects() == {("Job", clone_id)}), within=180)


async def test_after_its_deadline_only_a_clones_job_is_left_and_waits_for_the_database(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await in_thread(bench.patch_job, clone_id, {"spec": {"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 1}})
    await only_the_job_is_left(bench, clone_id)
    (place,) = await bench.runtime.list()
    assert place.is_ended
    await bench.runtime.delete(clone_id)
    await bench.runtime.forget(clone_id)
    assert await in_thread(bench.objects) == set()


async def test_a_job_that_somebody_deletes_in_the_background_fails_who_waits_and_is_taken_away_whole(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await in_thread(kubectl, "delete", "job", clone_id, "-n", bench.namespace, "--wait=false")
    with pytest.raises(Fatal) as raised:
        await bench.runtime.ready(clone_id)
    assert raised.value.code == "CLONE_ENDED"
    await bench.runtime.delete(clone_id)
    assert await in_thread(bench.objects) == {("Job", clone_id)}
    await bench.runtime.forget(clone_id)
    assert await in_thread(bench.objects) == set()


@pytest.mark.full
async def test_a_namespace_goes_once_its_jobs_finalizers_are_off_by_hand(cluster: Clusterwide) -> None:
    async with cluster.bench() as bench:
        for clone_id in (new_clone_id(), new_clone_id()):
            await bench.runtime.create(clone_id)
        await in_thread(kubectl, "delete", "namespace", bench.namespace, "--wait=false")
        jobs = (await in_thread(kubectl, "get", "jobs", "-n", bench.namespace, "-o", "name")).split()
        assert len(jobs) == 2
        patch = '{"metadata": {"finalizers": null}}'
        await in_thread(kubectl, "patch", *jobs, "-n", bench.namespace, "--type=merge", "-p", patch)
        await in_thread(kubectl, "wait", "--for=delete", f"namespace/{bench.namespace}", "--timeout=100s")
