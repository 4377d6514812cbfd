"""Directories and ports of one test run: reachable by unprivileged children, removed at the end."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
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
