"""The whole service on the test cluster, as an operator would deploy it: deploy/README.md from secrets to a token.

What deploy/kubernetes/base says runs unchanged; the overlay made here names images and addresses. The cluster provisions no
volumes, so they are made beforehand, as directories of this machine.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.cluster.binaries import kubectl as kubectl_program
from tests.cluster.gateway import GATEWAY, kubectl
from tests.cluster.place import ClusterPlace
from wpclone.core.secrets import KeyRing

SHIPPED = Path(__file__).parents[2] / "deploy" / "kubernetes"
NAMESPACES = ("clones", "wpclone")
HOSTS = "clones.test"
"""Clones are at <clone id>.clones.test: the test cluster's DNS and Gateway lead there."""
_SERVICE_UID, _CLONE_UID = 10001, 33
_CLONE_VOLUMES, _CLONE_VOLUME = 20, "1Gi"
_OURS = "wpclone-demo"
_SECONDS = 170


@dataclass(frozen=True)
class ClusterService:
    """One deployment. `directory` is private to it; `images` are the images' names by kind."""

    place: ClusterPlace
    directory: Path
    images: Mapping[str, str]
    jobs_url: str = field(repr=False)
    clones_url: str = field(repr=False)
    source: str
    """The `host:port` of the source that may lie at a private address."""

    def deploy(self) -> None:
        """Bring it up, and return when every part is ready. Raises RuntimeError with what kubectl complained of."""
        if there := self._kubectl("get", "namespaces", *NAMESPACES, "--ignore-not-found", "-o", "name").split():
            raise RuntimeError(f"{' and '.join(there)} is there already: somebody's service. `make cluster-down` ends it all")
        for name in ("clones", "service"):
            self._kubectl("apply", "-f", str(SHIPPED / "base" / name / "namespace.yaml"))
        self._kubectl("apply", "-f", "-", document=yaml.safe_dump_all([*self._secrets(), *self._volumes()]))
        overlay = self.directory / "overlay"
        overlay.mkdir()
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(self._overlay(overlay)))
        self._kubectl("apply", "-k", str(overlay))
        self._kubectl("wait", "-n", "wpclone", "--for=condition=complete", "job/migrate", f"--timeout={_SECONDS}s")
        for part in ("statefulset/nats", "deploy/server", "deploy/worker", "deploy/envoy"):
            self._kubectl("rollout", "status", "-n", "wpclone", part, f"--timeout={_SECONDS}s")

    def token(self) -> str:
        """A token of a new customer."""
        admin = ("exec", "-n", "wpclone", "deploy/server", "-c", "server", "--", "python3", "-m", "server.admin")
        self._kubectl(*admin, "customer", "create", "demo")
        return self._kubectl(*admin, "token", "create", "--customer", "demo").strip()

    def forwarding(self, port: int) -> list[str]:
        """The command that has this port of this machine lead to the API."""
        config = ("--kubeconfig", str(self.place.kubeconfig()), "-n", "wpclone")
        return [kubectl_program(), *config, "port-forward", "svc/api", f"{port}:80"]

    def clone_directory(self, clone_id: str) -> Path:
        """Where a clone's volume lies on this machine."""
        volume = self._kubectl("get", "pvc", clone_id, "-n", "clones", "-o", "jsonpath={.spec.volumeName}")
        return self.directory / "volumes" / volume

    def remove(self) -> None:
        """Take all of it away, clones too. Nobody is left to finish their Jobs, so those are let go.

        The worker first, and at once: one with a job would drain for ten minutes, and hold the clone's Job again.
        """
        worker = ("-n", "wpclone", "--ignore-not-found", "--grace-period=0", "--force")
        self._kubectl("delete", "deploy/worker", *worker, "--cascade=orphan")
        self._kubectl("delete", "replicasets,pods", "-l", "app.kubernetes.io/name=worker", *worker)
        for job in self._kubectl("get", "jobs", "-n", "clones", "--ignore-not-found", "-o", "name").split():
            self._kubectl("patch", job, "-n", "clones", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        self._kubectl("delete", "namespaces", *NAMESPACES, "--ignore-not-found", f"--timeout={_SECONDS}s")
        self._kubectl("delete", "pv", "-l", _OURS, f"--timeout={_SECONDS}s")

    def logs(self) -> str:
        """The state of the pods and what the service's said last, for whoever must find out why it did not work."""
        selector = "app.kubernetes.io/part-of=wpclone"
        pods = self._kubectl("get", "pods", "-A", "-o", "wide")
        return pods + self._kubectl("logs", "-n", "wpclone", "-l", selector, "--all-containers", "--prefix", "--tail=15")

    def _kubectl(self, *words: str, document: str = "") -> str:
        return kubectl(self.place, *words, document=document)

    def _secrets(self) -> list[dict[str, object]]:
        KeyRing.create(self.directory / "keys.json", os.urandom)
        nats = f"n{secrets.token_hex(16)}"
        values = {
            "database-url": self.jobs_url, "clones-database-url": self.clones_url,
            "nats-password": nats, "nats-url": f"nats://wpclone:{nats}@nats:4222",
            "nats-route-password": f"n{secrets.token_hex(16)}",
        }  # fmt: skip
        return [
            _secret("wpclone-keys", {"keys.json": (self.directory / "keys.json").read_text()}),
            _secret("wpclone", values),
        ]

    def _volumes(self) -> list[dict[str, object]]:
        """One for each claim of the service, and some for clones."""
        nats = [self._volume(f"nats-{n}", "5Gi", _SERVICE_UID, f"data-nats-{n}") for n in range(3)]
        work = self._volume("work", "200Gi", _SERVICE_UID, "work")
        return [work, *nats, *(self._volume(f"clone-{n}", _CLONE_VOLUME, _CLONE_UID) for n in range(_CLONE_VOLUMES))]

    def _volume(self, name: str, size: str, uid: int, claim: str = "") -> dict[str, object]:
        full = f"{_OURS}-{name}"
        path = self.directory / "volumes" / full
        path.mkdir(parents=True)
        os.chown(path, uid, uid)
        spec: dict[str, object] = {
            # Of one node, one is as many.
            "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "hostPath": {"path": str(path)}, "persistentVolumeReclaimPolicy": "Retain",
        }  # fmt: skip
        if not claim:
            # No such class needs to be there: it keeps the claims of others in this cluster from taking these.
            spec["storageClassName"] = _OURS
        else:
            spec["claimRef"] = {"namespace": "wpclone", "name": claim}
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": full, "labels": {_OURS: ""}}, "spec": spec}

    def _overlay(self, directory: Path) -> dict[str, object]:
        place = self.place
        settings = {
            "IMAGE": self.images["clone"], "HOST_SUFFIX": HOSTS, "SCHEME": "http", "PUBLIC_PORT": place.gateway_port,
            "GATEWAY": GATEWAY, "DATABASE_CIDR": f"{place.network}.0/24", "STORAGE": _CLONE_VOLUME, "STORAGE_CLASS": _OURS,
            # The bridge's CNI plugin knows no policies.
            "ENFORCES_NETWORK_POLICY": "false",
        }  # fmt: skip
        literals = [f"WPCLONE_KUBERNETES_{name}={value}" for name, value in settings.items()]
        literals.append(f"WPCLONE_ALLOW_SOURCE_HOSTS={self.source}")
        names = {"wpclone-service": "service", "nats": "nats", "envoy": "envoy"}
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            # kustomize takes no absolute paths.
            "resources": [os.path.relpath((SHIPPED / "base").resolve(), directory.resolve())],
            "images": [_image(name, self.images[kind]) for name, kind in names.items()],
            "configMapGenerator": [{"name": "clones", "namespace": "wpclone", "literals": literals}],
        }  # fmt: skip


def _secret(name: str, values: dict[str, str]) -> dict[str, object]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "wpclone"}, "data": data}


def _image(name: str, image: str) -> dict[str, str]:
    where, _, tag = image.rpartition(":")
    return {"name": name, "newName": where, "newTag": tag}
