"""Every shipped manifest before a real API server: as a dry run, and each pod before Pod Security's `restricted`."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.bench import Clusterwide, kubectl

SHIPPED = Path(__file__).parents[2] / "deploy" / "kubernetes"
pytestmark = pytest.mark.timeout(500)
NOT_INSTALLED = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
"""Kinds whose operators the test cluster does not have."""
Object = dict[str, Any]


@pytest.fixture(params=["base", "overlays/staging", "overlays/production"])
def objects(request: pytest.FixtureRequest, cluster: Clusterwide) -> Iterator[list[Object]]:
    """What kustomize makes of it; the namespaces it needs are there while the test runs."""
    built = [thing for thing in yaml.safe_load_all(kubectl("kustomize", str(SHIPPED / request.param))) if thing]
    namespaces = [thing for thing in built if thing["kind"] == "Namespace"]
    names = [thing["metadata"]["name"] for thing in namespaces]
    # Before anything is made: what is there already is somebody's service, and the end of this test would delete it.
    if there := kubectl("get", "namespaces", *names, "--ignore-not-found", "-o", "name").split():
        pytest.skip(f"needs a cluster without {' and '.join(there)}: it makes and deletes them")
    kubectl("apply", "-f", "-", document=yaml.safe_dump_all(namespaces))
    yield [thing for thing in built if thing["kind"] not in NOT_INSTALLED]
    kubectl("delete", "namespaces", *names, "--timeout=220s")


def test_the_api_server_takes_all_of_it(objects: list[Object]) -> None:
    told = kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", document=yaml.safe_dump_all(objects)
    )  # fmt: skip
    assert told.count("server dry run") == len(objects)


def test_each_pod_passes_the_restricted_standard(objects: list[Object]) -> None:
    for account in [thing for thing in objects if thing["kind"] == "ServiceAccount"]:
        kubectl("apply", "-f", "-", document=json.dumps(account))
    kubectl("create", "serviceaccount", "default", "-n", "wpclone", check=False)
    checked = 0
    for thing in objects:
        if thing["kind"] not in {"Deployment", "StatefulSet", "Job"}:
            continue
        template = thing["spec"]["template"]["spec"]
        claims = [{"name": each["metadata"]["name"], "emptyDir": {}} for each in thing["spec"].get("volumeClaimTemplates", ())]
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": thing["metadata"]["name"], "namespace": "wpclone"},
            "spec": {**template, "restartPolicy": "Never", "volumes": [*template.get("volumes", ()), *claims]},
        }  # fmt: skip
        result = subprocess.run(
            [binaries.kubectl(), "apply", "--dry-run=server", "-f", "-"],
            input=json.dumps(pod), capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        checked += 1
    assert checked == 5
