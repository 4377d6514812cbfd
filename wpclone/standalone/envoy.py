"""One Envoy for the machine: the API's listener and the clones' listener, from deploy/envoy/envoy.yaml.

The template has `${PLACEHOLDERS}`; the clones' routes and clusters come from files that routes.py replaces while Envoy
runs. `--disable-hot-restart`, because Envoy otherwise shares memory with other Envoys of the same base id.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from string import Template

from wpclone.standalone.account_files import replace_file
from wpclone.standalone.child import Account, Child
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.installed_program import installed_program
from wpclone.standalone.readiness import answer_of
from wpclone.standalone.routes import CDS_FILE, write_routes


@dataclass(frozen=True)
class EnvoyPlace:
    """Where Envoy lives and listens, all on 127.0.0.1. `descriptor` is the API's descriptor set, `routes` the clones' files."""

    directory: Path
    template: Path
    descriptor: Path
    routes: Path
    api_port: int
    clones_port: int
    grpc_port: int
    admin_port: int
    account: Account

    @property
    def configuration(self) -> Path:
        """The filled-in bootstrap."""
        return self.directory / "envoy.yaml"

    @property
    def log(self) -> Path:
        """Envoy's log."""
        return self.directory / "envoy.log"


def program() -> str:
    """The envoy of this machine. Raises FileNotFoundError."""
    return installed_program("envoy")


def configuration(place: EnvoyPlace) -> str:
    """The bootstrap for `place`. Raises KeyError for a placeholder this module does not know, OSError without a template."""
    return Template(place.template.read_text()).substitute(
        API_PORT=place.api_port,
        CLONES_PORT=place.clones_port,
        GRPC_PORT=place.grpc_port,
        ADMIN_PORT=place.admin_port,
        DESCRIPTOR=place.descriptor,
        ROUTES_DIR=place.routes,
    )


def prepare(place: EnvoyPlace) -> None:
    """Write the bootstrap, and empty routes where there are none yet. Repeatable."""
    place.directory.mkdir(parents=True, exist_ok=True)
    place.account.own(place.directory)
    place.routes.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not (place.routes / CDS_FILE).exists():
        write_routes(place.routes, [])
    replace_file(place.configuration, configuration(place).encode(), mode=0o644)


async def start(place: EnvoyPlace) -> Child:
    """Start Envoy and return once all its listeners serve. Raises ServerNotReady with the log's tail."""
    await asyncio.to_thread(prepare, place)
    child = await Child.start(
        "envoy",
        [program(), "-c", str(place.configuration), "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"],
        account=place.account, env={"PATH": os.defpath}, log=place.log, cwd=place.directory,
    )  # fmt: skip

    async def ready() -> bool | None:
        return await status_of(place.admin_port, "127.0.0.1", "/ready", within=5) == 200 or None

    await answer_of(child, ready, within=30, log=place.log)
    return child
