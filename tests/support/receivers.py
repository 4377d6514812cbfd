"""Real receivers: the PHP of the clone image under Debian's Apache, on an address of 127/8 as on a Service's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.places import open_directory
from tests.support.servers import SERVICE
from tests.support.wait import until_async

IMAGE = Path(__file__).parents[2] / "deploy" / "docker" / "clone"
PORT = 8081


@dataclass(frozen=True)
class RunningReceiver:
    """A receiver that serves at `address`; `site` is its clone's volume."""

    address: str
    site: Path
    process: subprocess.Popen[bytes]
    log: Path

    async def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.address}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def up(self) -> "RunningReceiver":
        await until_async(self.is_up, within=30)
        return self


@contextmanager
def running_receiver(host: str, key: bytes) -> Iterator[RunningReceiver]:
    """One clone's receiver and volume; ended and gone afterwards."""
    with open_directory("receiver") as place:
        site = place / "site"
        for part in ("run", "tmp", "site", "site/content", "site/content/docroot", "site/state", "site/guard"):
            SERVICE.own(_made(place / part))
        for name in ("receiver.php", "receiver.conf"):
            shutil.copy(IMAGE / name, place / name)
        key_file, log = place / "key", place / "log"
        key_file.write_bytes(key)
        key_file.chmod(0o444)
        log.touch()
        SERVICE.own(log)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/bin", "RECEIVER_DIRECTORY": str(place), "RECEIVER_LISTEN": f"{host}:{PORT}",
            "RECEIVER_SITE": str(site), "RECEIVER_KEY_FILE": str(key_file), "RECEIVER_LOG": str(log),
        }  # fmt: skip
        account: dict[str, Any] = {"user": SERVICE.uid, "group": SERVICE.gid, "extra_groups": []} if os.getuid() == 0 else {}
        # A group of its own: an Apache that ends sends SIGTERM to all of its group (server/mpm/prefork/prefork.c).
        process = subprocess.Popen(
            ["apache2", "-f", str(place / "receiver.conf"), "-D", "FOREGROUND"], env=environment, process_group=0, **account
        )
        try:
            yield RunningReceiver(f"http://{host}:{PORT}", site, process, log)
        finally:
            process.terminate()
            process.wait(30)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
