"""A nats-server of our own: JetStream on disk, every write synced, one token, loopback only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone.account_files import replace_file
from wpclone.standalone.child import Account, Child
from wpclone.standalone.installed_program import installed_program
from wpclone.standalone.readiness import answer_of


@dataclass(frozen=True)
class NatsPlace:
    """Where one nats-server lives and listens; `token` is what its clients must present."""

    directory: Path
    port: int
    token: str
    account: Account

    @property
    def url(self) -> str:
        """The address for clients, with the token."""
        return f"nats://{self.token}@127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "nats.log"


def program() -> str:
    """The nats-server of this machine. Raises FileNotFoundError."""
    return installed_program("nats-server")


async def start(place: NatsPlace) -> Child:
    """Start the server and return once it speaks (it greets each connection with INFO). Raises ServerNotReady."""
    place.directory.mkdir(parents=True, exist_ok=True)
    place.account.own(place.directory)
    config = place.directory / "nats.conf"
    replace_file(config, _configuration(place).encode(), mode=0o600, owner=place.account)
    child = await Child.start(
        "nats-server", [program(), "-c", str(config)], account=place.account, env={"PATH": "/usr/bin:/bin"}, log=place.log,
        cwd=place.directory,
    )  # fmt: skip
    await answer_of(child, lambda: _greets(place.port), within=30, log=place.log)
    return child


def _configuration(place: NatsPlace) -> str:
    return (
        f'listen: 127.0.0.1:{place.port}\nmax_payload: 1MB\nauthorization {{ token: "{place.token}" }}\n'
        f'jetstream {{ store_dir: "{place.directory / "store"}", sync_interval: always, max_file_store: 1GB }}\n'
    )


async def _greets(port: int) -> bool | None:
    """True once a NATS server speaks there, else None."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return None
    return line.startswith(b"INFO ") or None
