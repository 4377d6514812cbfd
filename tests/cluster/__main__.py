"""`python -m tests.cluster up|down|status|load ARCHIVE|stop NAME|start NAME`: the one cluster of this machine.

`up` prints the line that makes tests use it. `stop` kills a component, `start` brings it back.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.cluster import control_plane, gateway, node
from tests.cluster.binaries import Missing
from tests.cluster.place import ClusterPlace, default_place
from tests.cluster.processes import NotReady, is_running, start_again, stop

NAMES = (*gateway.NAMES, *node.NAMES, "containerd", *control_plane.NAMES)


def up(place: ClusterPlace) -> None:
    """Start what does not run yet."""
    place.directory.mkdir(parents=True, exist_ok=True)
    if place.has_node:
        node.make_bridge(place)  # the API server listens on it
    control_plane.start_control_plane(place)
    if place.has_node:
        node.start_node(place)
        gateway.start_gateway(place)
    else:
        print("cluster: no root, so no pods: the control plane alone", file=sys.stderr)
    print(f"export KUBECONFIG={place.kubeconfig()}")


def down(place: ClusterPlace) -> None:
    """End everything and leave nothing."""
    for name in gateway.NAMES:
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


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "status", "load", "stop", "start"])
    parser.add_argument("what", nargs="?", default="", help="an image archive, or a component's name")
    given = parser.parse_args()
    place = default_place()
    try:
        if given.verb in ("up", "down", "status"):
            {"up": up, "down": down, "status": status}[given.verb](place)
        elif given.verb == "load":
            if is_running(place.directory, "containerd"):
                node.load_image(place, Path(given.what))
        else:
            {"stop": stop, "start": start_again}[given.verb](place.directory, given.what)
    except (Missing, NotReady, RuntimeError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
