"""What a clone is on Kubernetes, as plain objects: pure functions, in the order in which they must be applied.

First a suspended Job: it has a uid before any pod runs and its clock stands still. Then everything the Job owns, so that one
deletion, or the Job's own end, takes all of it away: Secret, volume claim, both Services, NetworkPolicy and route. Last the Job
is released. A crash in between leaves a suspended Job that the next call finishes or the sweep deletes. The Job itself stays as a
record, by its finalizer, until the clone's database has gone.

The web server and the receiver are sidecars: they restart in place and their readiness is the pod's. The Job's one main container
only waits; it ends with 143 on SIGTERM, because 0 would complete the Job and so end the clone. No sidecar has a startup probe: it
would keep the next container back for a second or two, and a customer waits for all three.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Manifest = dict[str, Any]

CLONE_LABEL = "wpclone.io/clone"
FINALIZER = "wpclone.io/database"
"""Keeps a Job that was deleted, by whomever, until the clone's database and user are gone too."""
SERVING = "wpclone.io/serving"
EXPIRES_AT = "wpclone.io/expires-at"
MANAGED_BY = "app.kubernetes.io/managed-by"
SELECTOR = f"{MANAGED_BY}=wpclone"
"""Finds every object of every clone."""

SITE_PORT, RECEIVER_PORT = 8080, 8081
DOCROOT, GUARD_STATE = "/site/content/docroot", "/site/state"
KEY_FILE = "key"
RECEIVER = "receiver"
"""The container that takes files."""
LINGER = 600
"""Seconds the objects of a clone stay after its deadline, and between a clone's expiry and its deadline."""

_UID = 33
_MOST_LOST_PODS = 50
_GRACE = 20


@dataclass(frozen=True)
class CloneShape:
    """How this installation's clones look.

    `image` is the clone image, best by digest. A clone's host is `<clone id>.<host_suffix>`; `public_port` stands in its URL
    unless 0. `gateway` is `namespace/name`. `database_cidr` is the only network clones may reach. `setup_seconds` is the Job's
    deadline until the clone's own expiry is known. `storage_class` empty takes the cluster's default; `cpu` and `memory` are
    limits, `cpu_request` and `memory_request` what the scheduler reserves.
    """

    namespace: str
    image: str
    host_suffix: str
    scheme: Literal["http", "https"]
    public_port: int
    route: Literal["gateway", "ingress"]
    gateway: str
    ingress_class: str
    worker_namespace: str
    database_host: str
    database_port: int
    database_cidr: str
    storage: str
    storage_class: str
    cpu_request: str
    cpu: str
    memory_request: str
    memory: str
    setup_seconds: int

    def host(self, clone_id: str) -> str:
        """The clone's host name."""
        return f"{clone_id}.{self.host_suffix}"

    def url(self, clone_id: str) -> str:
        """The clone's public address, stable for its life."""
        port = f":{self.public_port}" if self.public_port else ""
        return f"{self.scheme}://{self.host(clone_id)}{port}"

    @property
    def gateway_namespace(self) -> str:
        """Where the data plane's pods are: the only ones besides workers that may reach a clone."""
        return self.gateway.partition("/")[0]


def job(shape: CloneShape, clone_id: str) -> Manifest:
    """The suspended Job. Its template is immutable: it is applied once and never again."""
    spec = {
        "suspend": True,
        "completions": 1,
        "parallelism": 1,
        "backoffLimit": _MOST_LOST_PODS,
        "podReplacementPolicy": "Failed",
        "activeDeadlineSeconds": shape.setup_seconds,
        "ttlSecondsAfterFinished": LINGER,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "template": {"metadata": {"labels": _labels(clone_id), "annotations": _UNDISTURBED}, "spec": _pod(shape, clone_id)},
    }
    metadata = _metadata(shape, clone_id, clone_id) | {"finalizers": [FINALIZER]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def owned(shape: CloneShape, clone_id: str, job_uid: str, key: bytes) -> list[Manifest]:
    """Everything the Job owns. `key` signs the workers' requests to the clone's receiver."""
    objects = [
        _secret(shape, clone_id, key),
        _volume_claim(shape, clone_id),
        _service(shape, clone_id, clone_id, "http", SITE_PORT),
        _receiver_service(shape, clone_id),
        _network_policy(shape, clone_id),
        _http_route(shape, clone_id) if shape.route == "gateway" else _ingress(shape, clone_id),
    ]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": clone_id, "uid": job_uid, "blockOwnerDeletion": True}
    for each in objects:
        each["metadata"]["ownerReferences"] = [owner]
    return objects


def released(uid: str) -> Manifest:
    """The merge patch that starts the Job's clock and its pod; the uid keeps it from touching a namesake."""
    return {"metadata": {"uid": uid}, "spec": {"suspend": False}}


def receiver_service(clone_id: str) -> str:
    """The name of the Service in front of the clone's receiver; no route leads to it."""
    return f"{clone_id}-receiver"


def _metadata(shape: CloneShape, clone_id: str, name: str) -> Manifest:
    return {"name": name, "namespace": shape.namespace, "labels": _labels(clone_id)}


def _labels(clone_id: str) -> dict[str, str]:
    return {MANAGED_BY: "wpclone", "app.kubernetes.io/name": "wordpress", CLONE_LABEL: clone_id}


_UNDISTURBED: Mapping[str, str] = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


def _pod(shape: CloneShape, clone_id: str) -> Manifest:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE,
        # Without this every Service of the namespace, so every other clone, would stand in the environment.
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_receiver(shape), _wordpress(shape)],
        "containers": [_waiting(shape)],
        "volumes": [
            {"name": "site", "persistentVolumeClaim": {"claimName": clone_id}},
            {"name": "key", "secret": {"secretName": receiver_service(clone_id), "defaultMode": 0o440}},
            *({"name": name, "emptyDir": {"sizeLimit": size}} for name, size in _SCRATCH.items()),
        ],
    }


_SCRATCH: Mapping[str, str] = {"tmp": "1Gi", "run": "16Mi", "receiver-tmp": "256Mi", "receiver-run": "16Mi"}


def _receiver(shape: CloneShape) -> Manifest:
    """Takes the copied files. Before WordPress: it makes the directories that are mounted there, and the hook holds up the next
    container until they are there, because the kubelet would make them as root."""
    return {
        # It works for seconds, and a customer waits for it: with half a CPU it would take twice as long.
        **_container(shape, RECEIVER, "20m", "32Mi", "2", "192Mi"),
        "restartPolicy": "Always",
        "ports": [{"name": "receiver", "containerPort": RECEIVER_PORT, "protocol": "TCP"}],
        # It waits for the container's own work, and does not do it: so what goes wrong there is in the container's log.
        "lifecycle": {"postStart": {"exec": {"command": ["/bin/sh", "-c", "until [ -d /site/guard ]; do sleep 0.02; done"]}}},
        "volumeMounts": [
            {"name": "site", "mountPath": "/site"},
            {"name": "key", "mountPath": "/run/secrets/wpclone", "readOnly": True},
            {"name": "receiver-tmp", "mountPath": "/opt/wpclone/receiver/tmp"},
            {"name": "receiver-run", "mountPath": "/opt/wpclone/receiver/run"},
            _opcache_lock("receiver-run"),
        ],
    }


def _wordpress(shape: CloneShape) -> Manifest:
    """The site. It may not write its guard, and sees neither the receiver's key nor files on their way."""
    return {
        **_container(shape, "wordpress", shape.cpu_request, shape.memory_request, shape.cpu, shape.memory),
        "restartPolicy": "Always",
        "ports": [{"name": "http", "containerPort": SITE_PORT, "protocol": "TCP"}],
        # A static file of the image: WordPress may redirect, be slow or broken, and the clone stays on its route.
        "readinessProbe": _probe("/.wpclone/health", "http", failures=3),
        "volumeMounts": [
            {"name": "site", "mountPath": "/site/content", "subPath": "content"},
            {"name": "site", "mountPath": GUARD_STATE, "subPath": "state"},
            {"name": "site", "mountPath": "/site/guard", "subPath": "guard", "readOnly": True},
            {"name": "tmp", "mountPath": "/opt/wpclone/web/tmp"},
            {"name": "run", "mountPath": "/opt/wpclone/web/run"},
            _opcache_lock("run"),
        ],
    }


def _opcache_lock(volume: str) -> Manifest:
    """PHP's opcache wants a lock file in /tmp and ends without it; sites may not look there (open_basedir)."""
    return {"name": volume, "mountPath": "/tmp"}  # noqa: S108


def _waiting(shape: CloneShape) -> Manifest:
    return _container(shape, "wait", "1m", "8Mi", "50m", "32Mi")


def _container(shape: CloneShape, name: str, cpu_request: str, memory_request: str, cpu: str, memory: str) -> Manifest:
    return {
        "name": name,
        "image": shape.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [f"/usr/local/bin/clone-{name}"],
        "resources": {
            "requests": {"cpu": cpu_request, "memory": memory_request},
            "limits": {"cpu": cpu, "memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(path: str, port: str, *, failures: int) -> Manifest:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": failures}


def _secret(shape: CloneShape, clone_id: str, key: bytes) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(shape, clone_id, receiver_service(clone_id)),
        "type": "Opaque",
        "immutable": True,
        "data": {KEY_FILE: base64.b64encode(key).decode()},
    }


def _volume_claim(shape: CloneShape, clone_id: str) -> Manifest:
    """The content: it survives the pod."""
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": shape.storage}}}
    if shape.storage_class:
        spec["storageClassName"] = shape.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(shape, clone_id, clone_id),
        "spec": spec,
    }


def _service(shape: CloneShape, clone_id: str, name: str, port_name: str, port: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(shape, clone_id, name),
        "spec": {
            "selector": {CLONE_LABEL: clone_id},
            # Some policy engines match the Service's port, not the pod's: both are the same.
            "ports": [{"name": port_name, "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    }


def _receiver_service(shape: CloneShape, clone_id: str) -> Manifest:
    """Leads to the pod from its first second: files are sent while the site's own container still starts."""
    service = _service(shape, clone_id, receiver_service(clone_id), "receiver", RECEIVER_PORT)
    service["spec"]["publishNotReadyAddresses"] = True
    return service


def _network_policy(shape: CloneShape, clone_id: str) -> Manifest:
    """A copied site runs somebody's plugins: it reaches its database and nothing else."""
    gateway, workers = _namespace(shape.gateway_namespace), _namespace(shape.worker_namespace)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(shape, clone_id, clone_id),
        "spec": {
            "podSelector": {"matchLabels": {CLONE_LABEL: clone_id}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [gateway], "ports": [_tcp(SITE_PORT)]},
                {"from": [workers], "ports": [_tcp(RECEIVER_PORT)]},
            ],
            "egress": [{"to": [{"ipBlock": {"cidr": shape.database_cidr}}], "ports": [_tcp(shape.database_port)]}, *_dns(shape)],
        },
    }


def _dns(shape: CloneShape) -> list[Manifest]:
    """DNS only when the database has a name: a resolver is a way out too."""
    if shape.database_host.replace(".", "").isdigit() or ":" in shape.database_host:
        return []
    return [{"to": [_namespace("kube-system")], "ports": [_tcp(53), {"port": 53, "protocol": "UDP"}]}]


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Manifest:
    return {"port": port, "protocol": "TCP"}


def _http_route(shape: CloneShape, clone_id: str) -> Manifest:
    namespace, _, name = shape.gateway.partition("/")
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(shape, clone_id, clone_id),
        "spec": {
            "parentRefs": [{"namespace": namespace, "name": name}],
            "hostnames": [shape.host(clone_id)],
            "rules": [{"backendRefs": [{"name": clone_id, "port": SITE_PORT}]}],
        },
    }


def _ingress(shape: CloneShape, clone_id: str) -> Manifest:
    backend = {"service": {"name": clone_id, "port": {"number": SITE_PORT}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(shape, clone_id, clone_id),
        "spec": {
            "ingressClassName": shape.ingress_class,
            "rules": [
                {
                    "host": shape.host(clone_id),
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    }
