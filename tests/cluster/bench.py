"""A namespace of a test on a real cluster: with the rules that we ship for the clones' one, and spoken to as the shipped worker.

Its ServiceAccount is the worker's: a verb that the Role lacks fails the test.
"""

import asyncio
import json
import os
import random
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from tests.cluster import binaries
from tests.cluster.place import ClusterPlace
from tests.support.kubernetes_bench import SHAPE, key_of, running
from tests.support.places import open_directory
from workers.runtimes import Place
from workers.runtimes.cluster_api import ClusterApi, connect
from workers.runtimes.kubernetes import KubernetesParts, KubernetesRuntime
from workers.runtimes.manifests import CloneShape
from workers.runtimes.reflector import Bell, ReflectorParts
from wpclone.core.clock import SystemClock
from wpclone.core.metrics import Metrics

SHIPPED = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base" / "clones"
Object = dict[str, Any]


def kubectl(*words: str, document: str = "", check: bool = True) -> str:
    """What kubectl prints, as the cluster's administrator."""
    result = subprocess.run(
        [binaries.kubectl(), *words], input=document, capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip
    assert not check or result.returncode == 0, result.stderr
    return result.stdout


def shipped(namespace: str) -> list[Object]:
    """Our manifests of the clones' namespace, for a namespace of a test: its ServiceAccount is in it."""
    found = [thing for path in sorted(SHIPPED.glob("*.yaml")) for thing in yaml.safe_load_all(path.read_text()) if thing]
    objects = [thing for thing in found if thing["kind"] not in ("Kustomization", "NetworkPolicy")]
    for thing in objects:
        if thing["kind"] == "Namespace":
            thing["metadata"]["name"] = namespace
        else:
            thing["metadata"]["namespace"] = namespace
        for subject in thing.get("subjects", ()):
            subject["namespace"] = namespace
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "wpclone-worker", "namespace": namespace}}
    return sorted([*objects, account], key=lambda thing: thing["kind"] != "Namespace")


def clone_objects(namespace: str) -> set[tuple[str, str]]:
    """Kind and name of everything of clones that is in a namespace."""
    kinds = "jobs,pods,services,secrets,pvc,networkpolicies,httproutes"
    told = json.loads(kubectl("get", kinds, "-n", namespace, "-l", "wpclone.io/clone", "-o", "json"))
    return {(item["kind"], item["metadata"]["name"]) for item in told["items"]}


@dataclass
class ClusterBench:
    """A namespace on a real cluster and a runtime that speaks as the shipped worker."""

    namespace: str
    runtime: KubernetesRuntime
    api: ClusterApi
    metrics: Metrics
    volumes: "Volumes | None"

    async def create(self, clone_id: str) -> Place:
        """Make a clone and, where claims are bound by hand, its volume: an unbound one would be the only cause told."""
        if self.volumes:
            await in_thread(self.volumes.make, self.namespace, clone_id)
        return await self.runtime.create(clone_id)

    def objects(self) -> set[tuple[str, str]]:
        """Everything of clones that is there."""
        return clone_objects(self.namespace)

    def patch_job(self, clone_id: str, patch: Object) -> None:
        kubectl("patch", "job", clone_id, "-n", self.namespace, "--type=merge", "-p", json.dumps(patch))


@dataclass
class Clusterwide:
    """The cluster's own kubeconfig, and the place when it is the one that `make cluster` started."""

    own: ClusterPlace | None

    @asynccontextmanager
    async def bench(self, *, patience: float = 150.0, **shape: Any) -> AsyncIterator[ClusterBench]:
        """A new namespace and a runtime in it; both gone afterwards, with everything in them."""
        async with AsyncExitStack() as stack:
            namespace = stack.enter_context(self.namespace())
            directory = stack.enter_context(open_directory("cluster"))
            api = await stack.enter_async_context(connect(self.worker_kubeconfig(namespace, directory)))
            yield await self._bench(stack, directory, namespace, api, patience, shape)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace with the rules that we ship for the clones' one; gone afterwards, with everything in it."""
        namespace = f"clones-{secrets.token_hex(4)}"
        kubectl("apply", "-f", "-", document=yaml.safe_dump_all(shipped(namespace)))
        kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=60s")  # no pod may be made before
        try:
            yield namespace
        finally:
            # As docs/operations.md tells it: without a worker nobody takes the Jobs' finalizers off.
            if jobs := kubectl("get", "jobs", "-n", namespace, "-o", "name", check=False).split():
                kubectl("patch", *jobs, "-n", namespace, "--type=merge", "-p", '{"metadata": {"finalizers": null}}', check=False)
            kubectl("delete", "namespace", namespace, "--wait=false", check=False)

    async def _bench(
        self, stack: AsyncExitStack, directory: Path, namespace: str, api: ClusterApi, patience: float, shape: Object
    ) -> ClusterBench:
        metrics = Metrics(CollectorRegistry())
        parts = KubernetesParts(
            replace(_shape(self.own), namespace=namespace, **shape),
            ReflectorParts(api, namespace, Bell(), SystemClock(), random.random, metrics),
            directory / "staging", "filtered in WordPress only", key_of, os.urandom, patience,
        )  # fmt: skip
        runtime = KubernetesRuntime(parts)
        await stack.enter_async_context(running(runtime))
        volumes = Volumes(self.own.directory / "volumes") if self.own else None
        if volumes:
            stack.callback(volumes.remove)
        return ClusterBench(namespace, runtime, api, metrics, volumes)

    def worker_kubeconfig(self, namespace: str, directory: Path) -> Path:
        """A kubeconfig of the worker's ServiceAccount."""
        token = kubectl("create", "token", "wpclone-worker", "-n", namespace).strip()
        admin = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        admin["users"] = [{"name": "worker", "user": {"token": token}}]
        admin["contexts"][0]["context"]["user"] = "worker"
        path = directory / "worker.conf"
        path.write_text(json.dumps(admin))
        return path


def _shape(own: ClusterPlace | None) -> CloneShape:
    return replace(SHAPE, public_port=own.gateway_port if own else 80, storage="64Mi", image="localhost/wpclone-clone:none")


@dataclass
class Volumes:
    """hostPath volumes, because the test cluster provisions none: one for each claim that a test is about to make."""

    directory: Path
    made: list[str] | None = None

    def make(self, namespace: str, clone_id: str, owner: int = 33) -> None:
        path = self.directory / clone_id
        path.mkdir(parents=True)
        os.chown(path, owner, owner)
        path.chmod(0o755)
        name = f"{namespace}-{clone_id}"
        self.made = [*(self.made or []), name]
        volume = {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "64Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(path)},
                "claimRef": {"namespace": namespace, "name": clone_id}, "persistentVolumeReclaimPolicy": "Retain",
            },
        }  # fmt: skip
        kubectl("apply", "-f", "-", document=yaml.safe_dump(volume))

    def remove(self) -> None:
        if self.made:
            kubectl("delete", "pv", *self.made, "--wait=false", check=False)
        for name in self.made or ():
            shutil.rmtree(self.directory / name[-len("clone-0123456789ab") :], ignore_errors=True)


async def in_thread(call: Any, *args: Any) -> Any:
    """A blocking call beside the reflectors."""
    return await asyncio.to_thread(call, *args)
