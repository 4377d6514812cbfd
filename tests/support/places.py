"""Directories and ports of one test run: reachable by unprivileged children, removed at the end."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wpclone.standalone.ports import is_free


def free_port() -> int:
    """A loopback port nobody listens on now, drawn by chance so that runs side by side rarely meet.

    Below what `wpclone up` takes, and below 32768, where Linux gives ports to outgoing connections: one of those would take it
    between this look and its use.
    """
    while True:
        port = random.randrange(5_000, 10_000)
        if is_free(port):
            return port


@contextmanager
def open_directory(name: str) -> Iterator[Path]:
    """A new directory that other uids may enter (pytest's own are 0700), gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix=f"wpt-{name}-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
