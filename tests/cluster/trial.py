"""One small pod before any test: whether this machine can run pods at all, and reach a Service's address."""

from __future__ import annotations

import json
import secrets
import socket

from tests.cluster.gateway import kubectl
from tests.cluster.node import PAUSE
from tests.cluster.place import ClusterPlace
from tests.support.wait import until


def run_a_pod(place: ClusterPlace, *, within: float = 120.0) -> None:
    """Return once a pod has run and the API server was reached as a Service. Raises RuntimeError with the node's own words."""
    name = f"trial-{secrets.token_hex(4)}"
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "trial", "image": PAUSE, "imagePullPolicy": "Never"}],
        },
    }  # fmt: skip
    # Pods are refused until the controllers have made the namespace's ServiceAccount.
    until(lambda: kubectl(place, "get", "serviceaccounts", "default", "--ignore-not-found", "-o", "name"), within=within)
    kubectl(place, "apply", "-f", "-", document=json.dumps(pod))
    try:
        _wait_for_it(place, name, within)
    finally:
        kubectl(place, "delete", "pod", name, "--wait=false")


def _wait_for_it(place: ClusterPlace, name: str, within: float) -> None:
    try:
        until(lambda: kubectl(place, "get", "pod", name, "-o", "jsonpath={.status.phase}") == "Running", within=within, every=0.2)
    except AssertionError:
        about = ("--field-selector", f"involvedObject.name={name}", "--sort-by", ".lastTimestamp")
        told = kubectl(place, "get", "events", *about, "-o", "jsonpath={.items[-1:].message}")
        raise RuntimeError(f"this machine runs no pods: {told or 'nothing was said in time'}") from None
    try:
        until(lambda: _answers(f"{place.services}.1"), within=within, every=0.2)
    except AssertionError:
        raise RuntimeError("this machine leads to no Service: kube-proxy's rules have no effect") from None


def _answers(address: str) -> bool:
    """Whether something listens at this Service's address."""
    try:
        socket.create_connection((address, 443), timeout=5).close()
    except OSError:
        return False
    return True
