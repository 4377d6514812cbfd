"""`python -m tests.cluster up|down|status|build|load ARCHIVE|stop NAME|start NAME`: the one cluster of this machine.

`up` prints the line that makes tests use it, and keeps one that tests started. `build` has all in the cache that it is made of.
`stop` kills a component, `start` brings it back.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.cluster import node
from tests.cluster.binaries import Missing
from tests.cluster.lock import Busy
from tests.cluster.parts import down, status, up
from tests.cluster.place import default_place
from tests.cluster.processes import NotReady, is_running, start_again, stop
from tests.cluster.session import mark_of_tests
from tests.cluster.supplies import get_supplies


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "status", "build", "load", "stop", "start"])
    parser.add_argument("what", nargs="?", default="", help="an image archive, or a component's name")
    given = parser.parse_args()
    place = default_place()
    try:
        if given.verb in ("up", "down", "status"):
            {"up": up, "down": down, "status": status}[given.verb](place)
            if given.verb == "up":
                mark_of_tests(place).unlink(missing_ok=True)
                print(f"export KUBECONFIG={place.kubeconfig()}")
        elif given.verb == "build":
            get_supplies()
        elif given.verb == "load":
            if is_running(place.directory, "containerd"):
                node.load_image(place, Path(given.what))
        else:
            {"stop": stop, "start": start_again}[given.verb](place.directory, given.what)
    except (Missing, Busy, NotReady, RuntimeError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
