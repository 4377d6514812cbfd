"""Writes base/envoy/bootstrap.yaml: the API's part of deploy/envoy/envoy.yaml, as it is in a cluster. A test compares.

usage: python deploy/kubernetes/envoy_bootstrap.py

The clones' listener goes: a Gateway leads to clones. Addresses become the pod's, and the servers are found by their headless
Service.
"""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

import yaml

HERE = Path(__file__).parent
TARGET = HERE / "base" / "envoy" / "bootstrap.yaml"
_TEMPLATE = HERE.parent / "envoy" / "envoy.yaml"
_HEAD = "# Written by deploy/kubernetes/envoy_bootstrap.py from deploy/envoy/envoy.yaml: change that.\n"


def bootstrap() -> str:
    """The file's text."""
    filled = Template(_TEMPLATE.read_text()).substitute(
        ADMIN_PORT=9901, API_PORT=8080, CLONES_PORT=0, GRPC_PORT=50051, DESCRIPTOR="/api/descriptor.binpb", ROUTES_DIR="/none"
    )
    document: dict[str, Any] = yaml.safe_load(filled)
    del document["dynamic_resources"]
    static = document["static_resources"]
    static["listeners"] = [each for each in static["listeners"] if each["name"] == "api"]
    static["listeners"][0]["address"]["socket_address"]["address"] = "0.0.0.0"  # noqa: S104 - the pod's own
    for cluster in static["clusters"]:
        cluster["type"] = "STRICT_DNS"
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["address"] = "server.wpclone.svc"
    return _HEAD + yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    """No anchors: a reader should not have to look elsewhere."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


if __name__ == "__main__":
    TARGET.write_text(bootstrap())
