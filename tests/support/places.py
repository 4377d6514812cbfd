"""Directories and ports of one test run: reachable by unprivileged children, removed at the end."""

import errno
import fcntl
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wpclone.standalone.ports import is_free

_ROOT, _PREFIX = Path("/tmp"), "wptest-"
_OURS: list[socket.socket] = []


def taken_for_us(name: str) -> socket.socket | None:
    """This name, which no other test process has until what is returned is closed; None when one has it already.

    An abstract socket (unix(7)) bears it: the kernel gives it to one process and takes it back when that ends.
    """
    bearer = socket.socket(socket.AF_UNIX)
    try:
        bearer.bind(f"\0wpclone-test-{name}")
    except OSError as error:
        bearer.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return bearer


def free_port() -> int:
    """A loopback port nobody listens on now, and that no other run of tests is given while this one lasts.

    Seconds may pass until its server listens: a database is set up first. Below what `wpclone up` takes, and below 32768, where
    Linux gives ports to outgoing connections: one of those would take it between this look and its use.
    """
    while True:
        port = random.randrange(5_000, 10_000)
        bearer = taken_for_us(f"port-{port}")
        if bearer is not None:
            _OURS.append(bearer)
            if is_free(port):
                return port


@contextmanager
def open_directory(name: str) -> Iterator[Path]:
    """A new directory that other uids may enter (pytest's own are 0700), gone afterwards."""
    path, held = _new_directory(name)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def remove_abandoned() -> None:
    """Remove what killed runs left: directories that no living process holds the lock of."""
    for path in _ROOT.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            held = _locked(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)


def _new_directory(name: str) -> tuple[Path, int]:
    """A directory and its lock, which ends with this process however it ends."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-", dir=_ROOT))
        with suppress(BlockingIOError, FileNotFoundError):  # another run's `remove_abandoned` may come between
            held = _locked(path)
            path.chmod(0o755)
            return path, held


def _locked(path: Path) -> int:
    """The lock of a directory, as a file descriptor. Raises OSError when a living process has it."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held
