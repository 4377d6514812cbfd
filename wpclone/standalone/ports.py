"""The loopback ports of one installation: chosen once, kept, and found free again at each start.

Below 32768, where Linux begins to give ports to outgoing connections, so that none of ours is lost while we are down.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wpclone.standalone.state import read_document, write_public

_BLOCK = 16
_FIRST, _BLOCKS = 10_000, 620
_CLONES_FIRST, _CLONES_BLOCKS, _CLONES = 20_000, 60, 200


class PortTaken(RuntimeError):
    """A port of ours is somebody else's now; the message names it, its use, and the ways out."""


@dataclass(frozen=True)
class Ports:
    """Each port's use. `worker_metrics` is the first worker's and last of its block, so that further workers have the rest.
    `clone_web_servers` is the first of 200 on which the clones' Apaches listen, behind Envoy."""

    edge: int
    clones: int
    grpc: int
    server_metrics: int
    mariadb: int
    nats: int
    envoy_admin: int
    worker_metrics: int
    clone_web_servers: int

    @property
    def web_servers(self) -> range:
        """The ports of the clones' Apaches."""
        return range(self.clone_web_servers, self.clone_web_servers + _CLONES)

    @classmethod
    def kept(cls, path: Path, run: str, is_free: Callable[[int], bool]) -> Ports:
        """The ports in `path`, else new ones, which are written there. `run` decides where the search begins.

        Raises ValueError for a damaged file, PortTaken when no block of ports is free.
        """
        document = read_document(path)
        names = [field.name for field in fields(cls)]
        if all(isinstance(document.get(name), int) for name in names):
            return cls(**{name: document[name] for name in names})
        chosen = cls._choose(int(run, 16), names, is_free)
        write_public(path, asdict(chosen))
        return chosen

    @classmethod
    def _choose(cls, seed: int, names: list[str], is_free: Callable[[int], bool]) -> Ports:
        clone_ports = _CLONES_FIRST + seed % _CLONES_BLOCKS * _CLONES
        for attempt in range(_BLOCKS):
            base = _FIRST + (seed + attempt) % _BLOCKS * _BLOCK
            block = range(base, base + len(names) - 1)  # the last name is clone_web_servers
            if all(is_free(port) for port in block):
                return cls(**dict(zip(names, [*block, clone_ports], strict=True)))
        raise PortTaken(f"no {len(names)} neighbouring ports from {_FIRST} to {_FIRST + _BLOCKS * _BLOCK} are free")

    def refuse_taken(self, path: Path, is_free: Callable[[int], bool]) -> None:
        """Raise PortTaken, naming every port that somebody else listens on."""
        uses = {name: port for name, port in asdict(self).items() if name != "clone_web_servers"}
        taken = [f"{port} ({use.replace('_', ' ')})" for use, port in uses.items() if not is_free(port)]
        if taken:
            raise PortTaken(
                f"another program listens on 127.0.0.1 port {', '.join(taken)}. End it, or change the port in {path} "
                "(the URLs of clones that exist change with the port `clones`)."
            )


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` could be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
