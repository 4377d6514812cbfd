"""What goes wrong on a real cluster while a clone's pod is waited for, filled or served, and what the runtime makes of it."""

import asyncio
import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.bench import ClusterBench, Clusterwide, in_thread, kubectl
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start_again, stop
from tests.cluster.test_pods import content
from tests.support.hosting import new_clone_id
from tests.support.kubernetes_bench import put_files
from tests.support.wait import until_async
from workers.runtimes.cluster_api import ClusterApi
from workers.runtimes.manifests import job
from wpclone.core.jobs.errors import Fatal, RetryLater, StepOutcome

pytestmark = pytest.mark.timeout(500)
LARGE = 48 << 20


@pytest.fixture
async def bench(cluster: Clusterwide) -> AsyncIterator[ClusterBench]:
    async with cluster.bench() as opened:
        yield opened


async def pod_of(bench: ClusterBench, clone_id: str) -> str:
    """The name of the clone's pod once there is one."""

    async def name() -> str:
        words = ["get", "pods", "-n", bench.namespace, "-l", f"wpclone.io/clone={clone_id}", "-o", "json"]
        told = json.loads(await in_thread(kubectl, *words))
        living = [item for item in told["items"] if "deletionTimestamp" not in item["metadata"]]
        return str(living[-1]["metadata"]["name"]) if living else ""

    return await until_async(name, within=120)


@pytest.mark.full  # the kubelet looks again after half a minute
async def test_a_missing_secret_fails_the_step_and_is_named(bench: ClusterBench, nodes: None) -> None:
    clone_id = new_clone_id()
    await bench.create(clone_id)
    await in_thread(kubectl, "delete", "secret", f"{clone_id}-receiver", "-n", bench.namespace)
    await in_thread(kubectl, "delete", "pod", await pod_of(bench, clone_id), "-n", bench.namespace, "--grace-period=1")
    with pytest.raises(Fatal) as raised:
        await bench.runtime.ready(clone_id)
    assert raised.value.code == "SECRET_MISSING"
    assert f'secret "{clone_id}-receiver" not found' in raised.value.message


@pytest.mark.full
async def test_containers_that_cannot_work_fail_the_step_with_their_cause_and_last_words(
    cluster: Clusterwide, clone_image: str
) -> None:
    """Side by side, because the kubelet lets a container that crashed wait for longer each time."""

    async def end(owner: int, **shape: Any) -> Fatal:
        async with cluster.bench(image=clone_image, patience=150, **shape) as bench:
            clone_id = new_clone_id()
            assert bench.volumes
            await in_thread(bench.volumes.make, bench.namespace, clone_id, owner)
            await bench.runtime.create(clone_id)
            with pytest.raises(Fatal) as raised:
                await bench.runtime.ready(clone_id)
            return raised.value

    crashed, large = await asyncio.gather(end(owner=0), end(owner=33, memory="8Mi", memory_request="8Mi"))
    assert large.code == "OUT_OF_MEMORY"
    assert crashed.code == "CONTAINER_CRASHES"
    assert "receiver" in crashed.message
    assert re.search("Its last lines: .*denied", crashed.message), crashed.message


async def test_a_pod_that_pod_security_refuses_fails_the_step_at_once(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    bad = job(bench.runtime._shape, clone_id)
    bad["spec"]["template"]["spec"]["hostNetwork"] = True
    await bench.api.apply(bad)
    await bench.runtime.create(clone_id)
    begun = time.monotonic()
    with pytest.raises(Fatal) as raised:
        await bench.runtime.ready(clone_id)
    assert raised.value.code == "POD_REFUSED"
    assert "violates PodSecurity" in raised.value.message
    assert time.monotonic() - begun < 40


async def test_compaction_while_the_api_server_was_away_is_one_new_list_of_each_kind(
    cluster: Clusterwide, own_cluster: ClusterPlace
) -> None:
    async with cluster.bench() as bench:
        clone_id = new_clone_id()
        await bench.runtime.create(clone_id)
        waiting = asyncio.create_task(bench.runtime.ready(clone_id))
        await pod_of(bench, clone_id)
        await in_thread(stop, own_cluster.directory, "apiserver", signal.SIGKILL)
        await in_thread(_compact, own_cluster)
        await in_thread(start_again, own_cluster.directory, "apiserver")

        async def is_back() -> bool:
            try:
                return await bench.runtime.describe(clone_id) is not None
            except StepOutcome:
                return False

        await until_async(is_back, within=180)
        await in_thread(bench.patch_job, clone_id, {"spec": {"activeDeadlineSeconds": 1}})
        with pytest.raises(Fatal) as raised:
            await waiting
        assert raised.value.code == "CLONE_EXPIRED"
        lists = bench.metrics.registry.get_sample_value("clone_cluster_relists_total", {"kind": "jobs", "reason": "list"})
        gone = bench.metrics.registry.get_sample_value("clone_cluster_relists_total", {"kind": "jobs", "reason": "gone"})
        assert (lists, gone) == (2, 1)


@pytest.mark.full
async def test_a_pod_deleted_while_it_is_given_its_files_gets_them_again(cluster: Clusterwide, clone_image: str) -> None:
    async with cluster.bench(image=clone_image) as bench:
        clone_id = new_clone_id()
        place = await bench.create(clone_id)
        assert place.staging is not None
        assert bench.volumes
        large = os.urandom(1 << 20) * (LARGE >> 20)
        put_files(place.staging, {"index.php": b"<?php", **{f"wp-content/uploads/{n}.bin": large for n in range(3)}})
        sending = asyncio.create_task(_exposed(bench, clone_id))
        volume = bench.volumes.directory / clone_id
        await until_async(lambda: in_thread(lambda: any(path.suffix == ".bin" for path in volume.rglob("*"))), within=180)
        assert not sending.done()
        first = await pod_of(bench, clone_id)
        await in_thread(kubectl, "delete", "pod", first, "-n", bench.namespace, "--grace-period=0", "--force")
        await sending
        assert await pod_of(bench, clone_id) != first
        (docroot,) = [path for path in volume.rglob("docroot") if path.is_dir()]
        assert {path.name: path.stat().st_size for path in docroot.rglob("*.bin")} == {f"{n}.bin": LARGE for n in range(3)}
        assert (docroot / "wp-content" / "uploads" / "2.bin").read_bytes() == large


async def _exposed(bench: ClusterBench, clone_id: str) -> None:
    """As the runner does: again for as long as it is worth a retry."""
    for _ in range(12):
        try:
            place = await bench.runtime.describe(clone_id)
            assert place is not None
            await bench.runtime.expose(clone_id, content(place))
        except RetryLater:
            await bench.runtime._clock.sleep(2.0)
            continue
        return
    raise AssertionError("the clone was never exposed")


def _compact(place: ClusterPlace) -> None:
    """Write to etcd behind the API server, and compact everything before."""
    etcd = f"http://127.0.0.1:{place.port + 2}/v3/kv"

    def ask(verb: str, body: dict[str, object]) -> Any:
        asked = urllib.request.Request(f"{etcd}/{verb}", json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return json.loads(answer.read())

    revision = ask("put", {"key": "L3Rlc3Q=", "value": "MQ=="})["header"]["revision"]
    ask("compaction", {"revision": revision, "physical": True})


async def test_twenty_waiting_clones_list_and_watch_less_than_once_a_second(
    cluster: Clusterwide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where requests leave: the API server's own figures have everybody's in them."""
    reads: list[str] = []
    send = ClusterApi._send

    async def counted(self: ClusterApi, method: str, address: str, *rest: Any) -> Any:
        path, _, query = address.partition("?")
        if method == "GET" and ("watch=true" in query or "labelSelector" in query):
            reads.append(path)
        return await send(self, method, address, *rest)

    monkeypatch.setattr(ClusterApi, "_send", counted)
    async with cluster.bench(patience=12, cpu_request="64", cpu="64") as bench:
        begun, clones = time.monotonic(), [new_clone_id() for _ in range(20)]
        await asyncio.gather(*(bench.runtime.create(clone_id) for clone_id in clones))
        ends = await asyncio.gather(*(bench.runtime.ready(clone_id) for clone_id in clones), return_exceptions=True)
        seconds = time.monotonic() - begun
        assert all(isinstance(end, RetryLater) for end in ends), ends
        print(f"20 clones waiting: {len(reads)} lists and watches in {seconds:.0f} s, the first of each reflector among them")
        assert len(reads) / seconds < 1
        errors = [
            sample for family in bench.metrics.registry.collect() for sample in family.samples if "errors_total" in sample.name
        ]
        assert errors == []
