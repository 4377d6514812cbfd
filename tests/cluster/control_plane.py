"""etcd, API server, controllers and scheduler: needs no root, no kernel feature and no network but loopback."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.pki import make_pki
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import start, wait_for

NAMES = ("scheduler", "controllers", "apiserver", "etcd")
"""In the order in which they end."""


def start_control_plane(place: ClusterPlace) -> None:
    """Start it, or what is missing of it, and return when the API server is ready. Raises NotReady, Missing."""
    kube = binaries.kube()
    make_pki(place)
    _start_etcd(place, kube)
    _start_apiserver(place, kube)
    wait_for(place.directory, "apiserver", lambda: answers(place, "/readyz"), within=120)
    for number, (name, component, more) in enumerate([
        ("controllers", "kube-controller-manager", [
            f"--service-account-private-key-file={place.pki}/sa.key", f"--root-ca-file={place.pki}/ca.crt",
            "--use-service-account-credentials=true",
        ]),
        ("scheduler", "kube-scheduler", []),
    ]):  # fmt: skip
        own = place.kubeconfig(name)
        start(
            place.directory, name,
            [
                kube, component, f"--kubeconfig={own}", f"--authentication-kubeconfig={own}", f"--authorization-kubeconfig={own}",
                "--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={place.port + 3 + number}", *more,
            ],
        )  # fmt: skip


def _start_etcd(place: ClusterPlace, kube: Path) -> None:
    client, peer = f"http://127.0.0.1:{place.port + 2}", f"http://127.0.0.1:{place.port + 1}"
    start(
        place.directory, "etcd",
        [
            kube, "etcd", "--data-dir", place.directory / "etcd", "--unsafe-no-fsync", "--log-level", "warn",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ],
    )  # fmt: skip


def _start_apiserver(place: ClusterPlace, kube: Path) -> None:
    pki = place.pki
    start(
        place.directory, "apiserver",
        [
            kube, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{place.port + 2}",
            f"--bind-address={place.address}", f"--advertise-address={place.network}.1", f"--secure-port={place.port}",
            f"--cert-dir={pki}", f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
            f"--service-cluster-ip-range={place.services}.0/16", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            f"--kubelet-client-certificate={pki}/admin.crt", f"--kubelet-client-key={pki}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
        ],
    )  # fmt: skip


def answers(place: ClusterPlace, path: str, wanted: str = "") -> bool:
    """Whether the API server answers 200 there, with `wanted` in it."""
    trust = ssl.create_default_context(cafile=str(place.pki / "ca.crt"))
    trust.load_cert_chain(place.pki / "admin.crt", place.pki / "admin.key")
    try:
        with urllib.request.urlopen(place.server + path, context=trust, timeout=5) as answer:
            return wanted in answer.read().decode()
    except (urllib.error.URLError, OSError):
        return False
