"""Which host name leads to which clone's Apache, as Envoy reads it: file-based RDS and CDS.

The files are JSON, which is YAML, under the names deploy/envoy/envoy.yaml watches. Envoy reloads a file when another is
renamed over it (envoy: `config.core.v3.PathConfigSource`). A new clone's cluster is written before its route, a removed
clone's route before its cluster, so that no route ever leads to a cluster that is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RDS_FILE = "clones_rds.yaml"
CDS_FILE = "clones_cds.yaml"
ROUTE_CONFIG = "clones"
"""The name the clones' listener asks for."""

_TYPES = "type.googleapis.com/envoy.config"


@dataclass(frozen=True)
class Route:
    """One clone: its id, its host name without port, and the loopback port of its Apache."""

    clone_id: str
    host: str
    port: int


def routes(clones: Iterable[Route]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The RDS and the CDS resource for these clones. The same clones give the same documents."""
    ordered = sorted(clones, key=lambda clone: clone.clone_id)
    rds = {
        "resources": [
            {
                "@type": f"{_TYPES}.route.v3.RouteConfiguration",
                "name": ROUTE_CONFIG,
                "virtual_hosts": [*(_virtual_host(clone) for clone in ordered), _NOBODY],
            }
        ]
    }
    cds = {"resources": [_cluster(clone) for clone in ordered]}
    return rds, cds


_BACK_OFF = {"base_interval": "0.2s", "max_interval": "1s"}


def _virtual_host(clone: Route) -> dict[str, Any]:
    return {
        "name": clone.clone_id,
        "domains": [clone.host, f"{clone.host}:*"],
        "routes": [
            {
                "match": {"prefix": "/"},
                "route": {
                    "cluster": clone.clone_id,
                    "timeout": "600s",
                    # While its Apache is being restarted nobody listens; nothing was sent yet, so trying again is safe.
                    "retry_policy": {"retry_on": "connect-failure", "num_retries": 3, "retry_back_off": _BACK_OFF},
                },
            }
        ],
    }  # fmt: skip


_NOBODY: dict[str, Any] = {
    "name": "nobody",
    "domains": ["*"],
    "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": "There is no such clone.\n"}}}
    ],
}


def _cluster(clone: Route) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": clone.port}}
    return {
        "@type": f"{_TYPES}.cluster.v3.Cluster",
        "name": clone.clone_id,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": clone.clone_id,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def write_routes(directory: Path, clones: Iterable[Route], *, removing: bool = False) -> None:
    """Make Envoy see exactly these clones. `removing` says that clones went away, which decides what is written first."""
    rds, cds = routes(clones)
    files = [(CDS_FILE, cds), (RDS_FILE, rds)]
    for name, document in reversed(files) if removing else files:
        _replace(directory / name, json.dumps(document, indent=1, sort_keys=True).encode())


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    os.replace(fresh, path)
