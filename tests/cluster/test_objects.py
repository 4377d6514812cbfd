"""What a real API server makes of a clone's objects, asked by the worker's own account."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import pytest

from tests.cluster.bench import ClusterBench, Clusterwide, in_thread, kubectl
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start_again, stop
from tests.support.hosting import new_clone_id
from tests.support.wait import until_async
from workers.runtimes.cluster_api import JOBS, ApiRefused
from wpclone.core.jobs.errors import Fatal, RetryLater, StepOutcome

pytestmark = pytest.mark.timeout(500)
KINDS = {
    "Job", "Secret", "PersistentVolumeClaim", "Service", "NetworkPolicy", "HTTPRoute",
}  # fmt: skip
MAY_NOT = [
    ("get", "secrets"), ("list", "secrets"), ("create", "pods"), ("create", "pods/exec"), ("create", "pods/attach"),
    ("delete", "pods"), ("create", "serviceaccounts"), ("create", "serviceaccounts/token"), ("create", "roles"),
    ("create", "rolebindings"), ("update", "resourcequotas"), ("delete", "networkpolicies"), ("delete", "services"),
]  # fmt: skip


@pytest.fixture
async def bench(cluster: Clusterwide) -> AsyncIterator[ClusterBench]:
    async with cluster.bench() as opened:
        yield opened


async def test_the_api_server_takes_every_object_and_the_job_takes_them_all_away(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    assert await bench.runtime.lacking() == ""
    for _ in range(2):
        await bench.runtime.create(clone_id)
    made = await in_thread(bench.objects)
    assert {kind for kind, _ in made} - {"Pod"} == KINDS
    assert len([kind for kind, _ in made if kind == "Service"]) == 2
    for _ in range(2):
        await bench.runtime.delete(clone_id)
    assert await in_thread(bench.objects) == {("Job", clone_id)}
    assert await bench.runtime.describe(clone_id) is None
    for _ in range(2):
        await bench.runtime.forget(clone_id)
    assert await in_thread(bench.objects) == set()


async def test_the_pod_passes_the_restricted_standard(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await until_async(lambda: in_thread(lambda: any(kind == "Pod" for kind, _ in bench.objects())), within=120)


@pytest.mark.parametrize(("verb", "resource"), MAY_NOT, ids=lambda value: value)
async def test_the_worker_may_not(bench: ClusterBench, verb: str, resource: str) -> None:
    account = f"system:serviceaccount:{bench.namespace}:wpclone-worker"
    answer = kubectl("auth", "can-i", verb, resource, "-n", bench.namespace, f"--as={account}", check=False)
    assert answer.strip() == "no"


async def test_the_worker_may_do_nothing_in_another_namespace(bench: ClusterBench) -> None:
    with pytest.raises(ApiRefused) as raised:
        await bench.api.list(JOBS, "default", "a=b")
    assert raised.value.code == 403


async def test_a_pod_that_the_cluster_refuses_fails_the_step_at_once(cluster: Clusterwide) -> None:
    async with cluster.bench() as bench:
        rule = {"min": {"memory": "100Gi"}, "max": {"memory": "100Gi"}, "default": {"memory": "100Gi"}, "type": "Container"}
        rule["defaultRequest"] = {"memory": "100Gi"}
        patch = json.dumps({"spec": {"limits": [rule]}})
        kubectl("patch", "limitrange", "clones", "-n", bench.namespace, "--type=merge", "-p", patch)
        clone_id = new_clone_id()
        await bench.runtime.create(clone_id)
        with pytest.raises(Fatal) as raised:
            await bench.runtime.ready(clone_id)
        assert raised.value.code == "POD_REFUSED"
        assert "memory" in raised.value.message


async def test_a_role_that_lacks_a_verb_is_one_clear_error(bench: ClusterBench) -> None:
    role = json.loads(kubectl("get", "role", "wpclone-worker", "-n", bench.namespace, "-o", "json"))
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["secrets"]]
    kubectl("replace", "-f", "-", document=json.dumps(role))

    async def outcome() -> str:
        clone_id = new_clone_id()
        try:
            await bench.runtime.create(clone_id)
        except StepOutcome as error:
            return f"{type(error).__name__} {error.code} {error.message}"
        return ""

    # The API server's authorizer learns of a changed Role a moment later.
    told = await until_async(outcome, within=120)
    assert told.startswith("Fatal CLUSTER_REFUSED")
    assert "secrets" in told


async def test_a_deadline_ends_the_clone_without_the_service(bench: ClusterBench) -> None:
    clone_id = new_clone_id()
    await bench.runtime.create(clone_id)
    await in_thread(bench.patch_job, clone_id, {"spec": {"activeDeadlineSeconds": 1}})
    with pytest.raises(Fatal) as raised:
        await bench.runtime.ready(clone_id)
    assert raised.value.code == "CLONE_EXPIRED"


async def test_a_killed_api_server_is_waited_for_and_what_happened_is_seen(
    cluster: Clusterwide, own_cluster: ClusterPlace
) -> None:
    async with cluster.bench() as bench:
        clone_id = new_clone_id()
        await bench.runtime.create(clone_id)
        waiting = asyncio.create_task(bench.runtime.ready(clone_id))
        await until_async(lambda: in_thread(lambda: any(kind == "Pod" for kind, _ in bench.objects())), within=120)
        await in_thread(stop, own_cluster.directory, "apiserver", signal.SIGKILL)
        with pytest.raises(RetryLater):
            await bench.runtime.describe(clone_id)
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
