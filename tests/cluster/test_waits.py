"""What a clone waits for on a real cluster: told while it waits, and the cause of the timeout afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.bench import ClusterBench, Clusterwide, in_thread, kubectl
from tests.support.hosting import new_clone_id
from wpclone.core.jobs.errors import RetryLater

pytestmark = pytest.mark.timeout(500)
IMAGE = "127.0.0.1:1/wpclone/absent:1"
NO_PODS = '{"spec": {"hard": {"pods": "0"}}}'


async def test_images_nodes_and_quotas_that_have_nothing_for_a_clone_are_told_and_waited_for(
    cluster: Clusterwide, nodes: None
) -> None:
    """Side by side, because each waits for as long as the others."""

    async def wait(prepare: Callable[[ClusterBench], Any] = lambda bench: None, **shape: Any) -> tuple[str, list[str]]:
        async with cluster.bench(patience=25, **shape) as bench:
            await in_thread(prepare, bench)
            clone_id, told = new_clone_id(), list[str]()
            await bench.create(clone_id)
            with pytest.raises(RetryLater) as raised:
                await bench.runtime.ready(clone_id, told.append)
            return raised.value.code, told

    def take_all_room(bench: ClusterBench) -> None:
        kubectl("patch", "quota", "clones", "-n", bench.namespace, "--type=merge", "-p", NO_PODS)

    image, room, quota = await asyncio.gather(wait(image=IMAGE), wait(cpu_request="16", cpu="16"), wait(take_all_room))
    assert image[0] == "IMAGE_NOT_PULLED"
    assert IMAGE in image[1][-1]
    assert "connection refused" in " ".join(image[1])
    assert room[0] == "UNSCHEDULABLE"
    assert "Insufficient cpu" in room[1][-1]
    assert quota[0] == "QUOTA_EXCEEDED"
    assert "exceeded quota" in quota[1][-1]
