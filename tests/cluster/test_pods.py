"""Clones as real pods: served by their host names through the Gateway, back after their pod is gone, and every cause told."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.bench import ClusterBench, Clusterwide, Volumes, in_thread, kubectl
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start_again, stop
from tests.support.hosting import KEY, SALT, fetch, new_clone_id
from tests.support.kubernetes_bench import put_files
from tests.support.wait import until_async
from workers.runtimes import Content, Place
from wpclone.wordpress.guard import GuardSettings, guard_config, guard_files

pytestmark = pytest.mark.timeout(500)
PAGE = b"<?php echo 'I am ', $_SERVER['HTTP_HOST'], ' ', getmyuid();"
WRITES = b"""<?php
foreach (['/site/guard/config.json', '/opt/wpclone/web/apache.conf', '/site/x', '/run/secrets/wpclone/key', '/tmp/x'] as $path) {
    echo $path, ' ', @file_put_contents($path, 'x') === false ? 'refused' : 'WRITTEN', \"\\n\";
}
echo 'key ', @file_get_contents('/run/secrets/wpclone/key') === false ? 'unseen' : 'SEEN', \"\\n\";
echo 'token ', @file_get_contents('/var/run/secrets/kubernetes.io/serviceaccount/token') === false ? 'unseen' : 'SEEN', \"\\n\";
"""


@pytest.fixture
async def bench(cluster: Clusterwide, clone_image: str) -> AsyncIterator[ClusterBench]:
    async with cluster.bench(image=clone_image) as opened:
        yield opened


def content(place: Place) -> Content:
    settings = GuardSettings(
        clone_id=place.clone_id, url=place.url, expires_at=datetime.now(UTC) + timedelta(hours=1), admin_login="admin",
        password="p", salt=SALT, key=KEY, state_dir=place.guard_state,
    )  # fmt: skip
    return Content(b"<?php // no database here\n", {**guard_files(), "config.json": guard_config(settings)})


async def served(bench: ClusterBench, volumes: Volumes, files: dict[str, bytes]) -> Place:
    """A clone of these files that answers at its address."""
    clone_id = new_clone_id()
    await in_thread(volumes.make, bench.namespace, clone_id)
    place = await bench.runtime.create(clone_id)
    assert place.staging is not None
    put_files(place.staging, files)
    return await bench.runtime.expose(clone_id, content(place))


async def page(place: Place, path: str = "/") -> str:
    """What the Gateway answers for this clone's host."""
    host, _, port = place.url.removeprefix("http://").partition(":")
    answer = await in_thread(fetch, int(port), host, path)
    return f"{answer.status} {answer.body}"


async def test_a_clone_answers_by_its_own_host_name_through_the_gateway(bench: ClusterBench, volumes: Volumes) -> None:
    one, other = await asyncio.gather(*(served(bench, volumes, {"index.php": PAGE}) for _ in range(2)))
    for place in (one, other):
        assert await page(place) == f"200 I am {place.clone_id}.localhost 33"
        assert (await page(place, "/robots.txt")).startswith("200 User-agent: *\nDisallow: /")
    await bench.runtime.delete(one.clone_id)
    assert (await page(one)).startswith("404")
    assert (await page(other)).startswith("200")


async def test_copied_code_can_write_neither_its_guard_nor_the_image_and_sees_no_key(
    bench: ClusterBench, volumes: Volumes
) -> None:
    place = await served(bench, volumes, {"index.php": WRITES})
    told = await page(place)
    assert told.startswith("200")
    assert "WRITTEN" not in told
    assert "SEEN" not in told


@pytest.mark.parametrize("is_evicted", [False, pytest.param(True, marks=pytest.mark.full)], ids=["deleted", "evicted"])
async def test_a_lost_pod_comes_back_with_its_content_at_the_same_url(
    bench: ClusterBench, volumes: Volumes, is_evicted: bool
) -> None:
    place = await served(bench, volumes, {"index.php": PAGE, "wp-content/uploads/kept.txt": b"kept"})
    before = _pod(bench, place.clone_id)
    if is_evicted:
        await in_thread(_evict, bench, before)
    else:
        await in_thread(kubectl, "delete", "pod", before, "-n", bench.namespace, "--grace-period=5")

    async def is_back() -> bool:
        return _pod(bench, place.clone_id) != before and (await page(place, "/wp-content/uploads/kept.txt")) == "200 kept"

    await until_async(is_back, within=120)
    found = await bench.runtime.describe(place.clone_id)
    assert found == place


async def test_an_expiry_reaches_guard_and_job(bench: ClusterBench, volumes: Volumes) -> None:
    place = await served(bench, volumes, {"index.php": PAGE})
    await bench.runtime.extend(place.clone_id, datetime.now(UTC) + timedelta(hours=3))
    job = json.loads(kubectl("get", "job", place.clone_id, "-n", bench.namespace, "-o", "json"))
    assert 3 * 3600 + 500 < job["spec"]["activeDeadlineSeconds"] < 3 * 3600 + 900
    await bench.runtime.extend(place.clone_id, datetime.now(UTC) - timedelta(minutes=11))
    assert (await page(place)).startswith(("410", "404", "503"))


async def test_a_stopped_kubelet_takes_no_clone_away(own_cluster: ClusterPlace, bench: ClusterBench, volumes: Volumes) -> None:
    place = await served(bench, volumes, {"index.php": PAGE})
    await in_thread(stop, own_cluster.directory, "kubelet")
    assert (await page(place)).startswith("200")
    await in_thread(start_again, own_cluster.directory, "kubelet")
    await until_async(lambda: _is_ready(bench, place.clone_id), within=180)
    assert (await page(place)).startswith("200")


@pytest.mark.full
async def test_many_clones_at_once_each_answer_and_leave_nothing(
    cluster: Clusterwide, clone_image: str, volumes: Volumes
) -> None:
    async with cluster.bench(image=clone_image, cpu_request="20m", patience=200) as bench:
        count = int(os.environ.get("CLUSTER_MANY", "20"))
        places = await asyncio.gather(*(served(bench, volumes, {"index.php": PAGE}) for _ in range(count)))
        for place in places:
            assert place.clone_id in await page(place)
        assert len({name for kind, name in bench.objects() if kind == "Pod"}) == count
        await asyncio.gather(*(bench.runtime.delete(place.clone_id) for place in places))
        await until_async(lambda: in_thread(lambda: not bench.objects()), within=120)


def _pod(bench: ClusterBench, clone_id: str) -> str:
    told = json.loads(kubectl("get", "pods", "-n", bench.namespace, "-l", f"wpclone.io/clone={clone_id}", "-o", "json"))
    living = [item for item in told["items"] if "deletionTimestamp" not in item["metadata"]]
    return str(living[-1]["metadata"]["name"]) if living else ""


def _evict(bench: ClusterBench, pod: str) -> None:
    """As a drain does: by the API that asks for a disruption."""
    name = {"name": pod, "namespace": bench.namespace}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name})
    kubectl("create", "--raw", f"/api/v1/namespaces/{bench.namespace}/pods/{pod}/eviction", "-f", "-", document=body)


async def _is_ready(bench: ClusterBench, clone_id: str) -> bool:
    told = await in_thread(kubectl, "get", "pod", _pod(bench, clone_id), "-n", bench.namespace, "-o", "json")
    return any(c["type"] == "Ready" and c["status"] == "True" for c in json.loads(told)["status"]["conditions"])
