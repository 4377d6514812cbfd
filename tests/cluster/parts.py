"""All parts of the cluster together, in the order in which they need each other."""

from __future__ import annotations

import shutil
import sys

from tests.cluster import control_plane, dns, gateway, node
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import is_running, stop

NAMES = (*gateway.NAMES, dns.NAME, *node.NAMES, "containerd", *control_plane.NAMES)


def up(place: ClusterPlace) -> None:
    """Start what does not run yet. Raises NotReady, Missing, RuntimeError."""
    place.directory.mkdir(parents=True, exist_ok=True)
    if place.has_node:
        node.make_bridge(place)  # the API server listens on it
    control_plane.start_control_plane(place)
    if place.has_node:
        dns.start_dns(place)
        node.start_node(place)
        gateway.start_gateway(place)
    else:
        print("cluster: no root, so no pods: the control plane alone", file=sys.stderr)


def down(place: ClusterPlace) -> None:
    """End everything and leave nothing."""
    for name in (*gateway.NAMES, dns.NAME):
        stop(place.directory, name)
    if place.has_node:
        node.end_node(place)
    for name in control_plane.NAMES:
        stop(place.directory, name)
    shutil.rmtree(place.directory, ignore_errors=True)


def status(place: ClusterPlace) -> None:
    """Which components run."""
    for name in NAMES:
        print(f"{name:12} {'runs' if is_running(place.directory, name) else 'does not run'}")
