"""Where a test cluster lives: its directory and its addresses. Two clusters on one machine need two of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClusterPlace:
    """One cluster. `has_node`: root, so that pods run; else all is on loopback. Ports are `port` and the 20
    after it, and `gateway_port`: below 32768, where Linux begins to give ports to outgoing connections."""

    directory: Path
    has_node: bool
    bridge: str = "wpclone0"
    network: str = "10.99.0"
    services: str = "10.96.0"
    port: int = 32100
    gateway_port: int = 32200

    @property
    def address(self) -> str:
        """Where the API server listens: pods must reach it, so it is the bridge's own address."""
        return f"{self.network}.1" if self.has_node else "127.0.0.1"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.directory / "pki"

    @property
    def containerd(self) -> Path:
        """containerd's configuration, images and socket."""
        return self.directory / "containerd"

    @property
    def socket(self) -> Path:
        """containerd's socket."""
        return self.containerd / "containerd.sock"

    def kubeconfig(self, name: str = "admin") -> Path:
        """The kubeconfig of an account."""
        return self.directory / f"{name}.conf"


def default_place() -> ClusterPlace:
    """The one cluster of `make cluster`, in the state directory."""
    root = os.getuid() == 0
    state = Path("/var/lib") if root else Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return ClusterPlace(state / "wpclone" / "cluster", has_node=root)


def cache() -> Path:
    """Where built binaries are kept, by version."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wpclone"
