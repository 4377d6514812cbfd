"""A nats-server of our own: JetStream on disk, every write synced, one token, loopback only."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone.child import Account, Child
from wpclone.standalone.mariadb import ServerNotReady, tail


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
    """The nats-server beside this interpreter, else the one on PATH. Raises FileNotFoundError."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is neither beside the Python interpreter nor on PATH: run `make setup`")
    return found


async def start(place: NatsPlace) -> Child:
    """Start the server and return once it speaks (it greets each connection with INFO). Raises ServerNotReady."""
    place.directory.mkdir(parents=True, exist_ok=True)
    place.account.own(place.directory)
    config = place.directory / "nats.conf"
    config.touch(mode=0o600)
    config.write_text(
        f'listen: 127.0.0.1:{place.port}\nmax_payload: 1MB\nauthorization {{ token: "{place.token}" }}\n'
        f'jetstream {{ store_dir: "{place.directory / "store"}", sync_interval: always, max_file_store: 1GB }}\n'
    )
    place.account.own(config)
    child = await Child.start(
        "nats-server", [program(), "-c", str(config)], account=place.account, env={"PATH": "/usr/bin:/bin"}, log=place.log,
        cwd=place.directory,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not await _greets(place.port):
                if child.exit_code is not None:
                    raise ServerNotReady(f"nats-server ended with {child.exit_code}: {tail(place.log)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        await child.stop()
        raise ServerNotReady(f"nats-server did not answer within 30 s: {tail(place.log)}") from None
    except BaseException:  # cancelled, too: nobody else knows of this child yet
        await child.stop()
        raise
    return child


async def _greets(port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return line.startswith(b"INFO ")
