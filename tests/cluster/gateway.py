"""The test cluster's Gateway: the Gateway API's kinds, Contour beside the cluster, and the Envoy of the wheel before the pods.

Envoy listens on the bridge, where pods reach it, and hands on what comes to the same port on loopback. Contour has it listen on
the Gateway's port + 8000, and only once there is a route.
"""

from __future__ import annotations

import json
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
    """Start it, or what is missing of it: `*.localhost` for whoever is on this machine and `*.clones.test` for pods too, at the
    place's gateway port. Raises NotReady, Missing."""
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
        "--envoy-service-http-address", place.address, "--envoy-service-https-address", place.address,
    ]  # fmt: skip
    for number, name in enumerate(("xds", "http", "health", "debug-http", "stats")):
        words += [f"--{name}-address", "127.0.0.1", f"--{name}-port", port + number]
    start(ours, "contour", words)
    bootstrap: list[str | Path] = [contour, "bootstrap", ours / "envoy.json", "--xds-address", "127.0.0.1"]
    bootstrap += ["--xds-port", str(port), "--admin-address", ours / "envoy.sock"]
    subprocess.run(bootstrap, check=True, capture_output=True, timeout=60)
    _listen_on_loopback(place, ours / "envoy.json")
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
    command = [binaries.kubectl(), "--kubeconfig", str(place.kubeconfig()), *words]
    result = subprocess.run(command, input=document, capture_output=True, text=True, timeout=180, check=False)
    if result.returncode:
        raise RuntimeError(f"kubectl {' '.join(words[:6])}: {result.stderr.strip()}")
    return result.stdout


def _listen_on_loopback(place: ClusterPlace, bootstrap: Path) -> None:
    """Have Envoy hand on what comes to 127.0.0.1: Contour can name but one address."""
    document = json.loads(bootstrap.read_text())
    static, port = document["static_resources"], place.gateway_port
    kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    handing_on = {"@type": kind, "stat_prefix": "loopback", "cluster": "bridge"}
    static.setdefault("listeners", []).append({
        "name": "loopback", "address": _socket("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": handing_on}]}],
    })  # fmt: skip
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _socket(place.address, port)}}]}]
    static["clusters"].append({
        "name": "bridge", "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "bridge", "endpoints": endpoints},
    })  # fmt: skip
    bootstrap.write_text(json.dumps(document))


def _socket(address: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": address, "port_value": port}}


def _objects(place: ClusterPlace) -> list[dict[str, object]]:
    listeners = [
        {
            "name": name, "protocol": "HTTP", "port": place.gateway_port - _SHIFT, "hostname": hostname,
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
        for name, hostname in (("loopback", "*.localhost"), ("bridge", "*.clones.test"))
    ]  # fmt: skip
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gateway"}},
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "contour"},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "clones", "namespace": "gateway"},
            "spec": {"gatewayClassName": "contour", "listeners": listeners},
        },
    ]  # fmt: skip


def _envoy() -> Path:
    return Path(sys.executable).parent / "envoy"
