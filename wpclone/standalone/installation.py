"""One installation on one machine: its state directory, accounts, ports and passwords, and where each program lives.

Every name outside this process (uid, port, nftables table, path) derives from the state directory, so that installations
never meet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wpclone.core.secrets import KeyRing
from wpclone.standalone.child import Account
from wpclone.standalone.clone_hosting import HostingPlace
from wpclone.standalone.database_accounts import clones_url, jobs_url
from wpclone.standalone.envoy import EnvoyPlace
from wpclone.standalone.keeper import KeeperPlace
from wpclone.standalone.mariadb import MariadbPlace
from wpclone.standalone.nats import NatsPlace
from wpclone.standalone.passwords import Passwords
from wpclone.standalone.ports import Ports, is_free
from wpclone.standalone.programs import Programs, checkout, passed_on
from wpclone.standalone.state import State
from wpclone.standalone.table_spaces import TableSpaces

_SERVICE_UID = 64990
"""Debian gives 60000-64999 to packages on request only, and keeps this one unused; no passwd entry is needed."""


class WrongSetting(ValueError):
    """A setting of `up` itself is wrong; the message names it."""


@dataclass(frozen=True)
class Accounts:
    """Who each program runs as: as root one numeric account each, otherwise all as ourselves."""

    service: Account
    mariadb: Account
    nats: Account
    envoy: Account

    @classmethod
    def choose(cls, environ: Mapping[str, str], *, root: bool) -> Accounts:
        """The accounts; `WPCLONE_SERVICE_UID` moves all four. Raises WrongSetting."""
        if not root:
            return cls(*[Account.current()] * 4)
        text = environ.get("WPCLONE_SERVICE_UID", str(_SERVICE_UID))
        if not text.isdecimal() or not 1000 <= int(text) < 200_000:
            raise WrongSetting(f"WPCLONE_SERVICE_UID must be a number from 1000 to 199999, not {text!r}")
        return cls(*(Account(int(text) + i, int(text) + i) for i in range(4)))


def isolated(environ: Mapping[str, str], *, root: bool) -> bool:
    """Whether each clone gets a uid and a firewall rule of its own. Raises WrongSetting when it must and can't."""
    wish = environ.get("WPCLONE_LOCAL_ISOLATION") or "uid"
    if wish not in {"uid", "none"}:
        raise WrongSetting(f"WPCLONE_LOCAL_ISOLATION must be uid or none, not {wish!r}")
    if wish == "uid" and not root:
        raise WrongSetting(
            "clones are kept apart by uids and nftables, which needs root. Start as root; or set WPCLONE_LOCAL_ISOLATION=none "
            "to run clones of sites you trust under your own account"
        )
    return wish == "uid"


def worker_count(environ: Mapping[str, str]) -> int:
    """How many worker processes run (`WPCLONE_WORKERS`, 1 to 4). Raises WrongSetting."""
    text = environ.get("WPCLONE_WORKERS", "1")
    if text not in {"1", "2", "3", "4"}:
        raise WrongSetting(f"WPCLONE_WORKERS must be 1, 2, 3 or 4, not {text!r}")
    return int(text)


@dataclass(frozen=True)
class Installation:
    """Everything `up` needs to know before it starts anything."""

    state: State
    accounts: Accounts
    ports: Ports
    passwords: Passwords
    isolated: bool
    workers: int
    environ: Mapping[str, str]

    @classmethod
    def open(cls, state: State, environ: Mapping[str, str], *, root: bool) -> Installation:
        """Read the directory, make what is missing. Raises WrongSetting, ValueError, PortTaken, KeyRingUnusable, OSError."""
        isolation, accounts, workers = isolated(environ, root=root), Accounts.choose(environ, root=root), worker_count(environ)
        state.make_private(state.service, accounts.service)
        state.make_private(state.service / "work", accounts.service)
        if not state.key_ring.exists():
            KeyRing.create(state.key_ring, os.urandom)
        accounts.service.own(state.key_ring)
        ports = Ports.kept(state.ports, state.run, is_free)
        return cls(state, accounts, ports, Passwords.kept(state.passwords, os.urandom), isolation, workers, environ)

    @property
    def addresses(self) -> dict[str, str]:
        """Where to reach what runs, for people."""
        return {
            "REST": f"http://127.0.0.1:{self.ports.edge}/api/v2",
            "gRPC": f"127.0.0.1:{self.ports.grpc}",
            "clones": f"http://<clone>.localhost:{self.ports.clones}",
            "metrics": f"http://127.0.0.1:{self.ports.server_metrics}/metrics",
        }

    @property
    def mariadb(self) -> MariadbPlace:
        """Where MariaDB lives."""
        return MariadbPlace(self.state.mariadb, self.ports.mariadb, self.accounts.mariadb)

    @property
    def nats(self) -> NatsPlace:
        """Where nats-server lives."""
        return NatsPlace(self.state.nats, self.ports.nats, self.passwords.nats, self.accounts.nats)

    @property
    def envoy(self) -> EnvoyPlace:
        """Where Envoy lives."""
        root = checkout()
        return EnvoyPlace(
            directory=self.state.envoy,
            template=root / "deploy" / "envoy" / "envoy.yaml",
            descriptor=root / "gen" / "wpclone" / "v2" / "descriptor.binpb",
            routes=self._routes,
            api_port=self.ports.edge,
            clones_port=self.ports.clones,
            grpc_port=self.ports.grpc,
            admin_port=self.ports.envoy_admin,
            account=self.accounts.envoy,
        )

    @property
    def keeper(self) -> KeeperPlace:
        """Where clones are hosted."""
        hosting = HostingPlace(
            state=self.state.clones,
            routes=self._routes,
            service=self.accounts.service,
            run=self.state.run,
            edge_port=self.ports.clones,
            database_port=self.ports.mariadb,
            isolated=self.isolated,
            uids=self.state.clone_uids,
            ports=self.ports.web_servers,
            wait_for_edge=True,
            spaces=TableSpaces(self.mariadb.socket, self.mariadb.data, self.accounts.mariadb, self.passwords.spaces),
        )
        return KeeperPlace(self.state.keeper_socket, hosting, Path("/run/wpclone"))

    @property
    def programs(self) -> Programs:
        """How server and workers run."""
        settings = {
            **passed_on(self.environ),
            "WPCLONE_DATABASE_URL": jobs_url(self.ports.mariadb, self.passwords),
            "WPCLONE_CLONES_DATABASE_URL": clones_url(self.ports.mariadb, self.passwords),
            "WPCLONE_NATS_URL": self.nats.url,
            "WPCLONE_KEY_RING_FILE": str(self.state.key_ring),
            "WPCLONE_KEEPER_SOCKET": str(self.state.keeper_socket),
            "WPCLONE_WORK_DIR": str(self.state.service / "work"),
            "WPCLONE_RUNTIME": "local",
        }
        return Programs(checkout(), self.accounts.service, self.state.service, settings)

    @property
    def _routes(self) -> Path:
        return self.state.directory / "routes"
