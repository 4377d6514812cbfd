"""Where one run of everything keeps what must survive it: data, ports, passwords, keys, clones.

Two state directories are two installations that know nothing of each other and may run side by side.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wpclone.standalone.account_files import replace_file
from wpclone.standalone.child import Account

_UIDS_PER_RUN = 1000
_FIRST_UID = 200_000
_UID_RANGES = 10_000


def state_directory(environ: Mapping[str, str], *, uid: int) -> Path:
    """`$WPCLONE_STATE_DIR`, else `/var/lib/wpclone` for root, else the XDG state directory (basedir-spec 0.8)."""
    if chosen := environ.get("WPCLONE_STATE_DIR"):
        return Path(chosen).absolute()
    if uid == 0:
        return Path("/var/lib/wpclone")
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "/"), ".local", "state")
    return Path(base) / "wpclone"


def packages_directory(environ: Mapping[str, str], *, uid: int) -> Path:
    """Where `make setup` unpacked WordPress: beside the usual state, whatever directory this run uses."""
    usual = {name: value for name, value in environ.items() if name != "WPCLONE_STATE_DIR"}
    return state_directory(usual, uid=uid) / "packages"


@dataclass(frozen=True)
class State:
    """One state directory. What is here is the operator's (root's, as root); what a child owns lies in a directory of its own."""

    directory: Path

    @property
    def lock(self) -> Path:
        """Held (flock) by the process that runs this installation; its text is that process's id."""
        return self.directory / "up.lock"

    @property
    def status(self) -> Path:
        """What runs now, for `wpclone status` and for whoever cleans up after a kill -9."""
        return self.directory / "status.json"

    @property
    def ports(self) -> Path:
        """The ports chosen at the first start; clones' URLs name one of them."""
        return self.directory / "ports.json"

    @property
    def passwords(self) -> Path:
        """Passwords of this installation's own accounts, 0600."""
        return self.directory / "passwords.json"

    @property
    def client(self) -> Path:
        """Where the command line finds the service and its token, 0600."""
        return self.directory / "client.json"

    @property
    def mariadb(self) -> Path:
        """MariaDB's directory."""
        return self.directory / "mariadb"

    @property
    def nats(self) -> Path:
        """nats-server's directory."""
        return self.directory / "nats"

    @property
    def envoy(self) -> Path:
        """Envoy's directory."""
        return self.directory / "envoy"

    @property
    def service(self) -> Path:
        """The service account's own directory: key ring, staging, logs of server and worker."""
        return self.directory / "service"

    @property
    def key_ring(self) -> Path:
        """The keys of what is encrypted at rest, 0600, the service account's."""
        return self.service / "key-ring.json"

    @property
    def clones(self) -> Path:
        """The clones: their sites and records, kept by the keeper."""
        return self.directory / "clones"

    @property
    def keeper_socket(self) -> Path:
        """Where the keeper listens."""
        return self.directory / "keeper.sock"

    @property
    def run(self) -> str:
        """8 letters that name this installation among others on the machine."""
        return hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:8]

    @property
    def clone_uids(self) -> range:
        """The uids of this installation's clones: a range of its own, by the directory's name."""
        start = _FIRST_UID + int(self.run, 16) % _UID_RANGES * _UIDS_PER_RUN
        return range(start, start + _UIDS_PER_RUN)

    def make(self) -> None:
        """Make the directory; others may pass through it (children must reach theirs) and read nothing that is private."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.directory.chmod(0o755)

    def make_private(self, path: Path, account: Account) -> None:
        """Make a directory that only `account` enters."""
        path.mkdir(mode=0o700, exist_ok=True)
        account.own(path)


def write_private(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step; nobody but its owner ever reads it."""
    replace_file(path, _json(document), mode=0o600)


def write_public(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step; anybody may read it."""
    replace_file(path, _json(document), mode=0o644)


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object of ours, or an empty one when there is no such file. Raises ValueError naming a damaged file."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} is damaged: it holds no object")
    return document


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()
