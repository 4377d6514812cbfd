"""Who runs an installation: the holder of a lock on one file, whose text is its process id.

flock(2) is let go by the kernel however the holder ends, so a lock that is held always names a live process.
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_PAUSE = threading.Event()


class AlreadyUp(RuntimeError):
    """Another process runs this installation."""


class RunLock:
    """Held for as long as an installation runs. Raises AlreadyUp when entered while another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while not _taken(fd):
            if (pid := holder(self._path)) is not None:
                os.close(fd)
                raise AlreadyUp(f"this installation is up already (process {pid}); `wpclone down` stops it")
            _PAUSE.wait(0.02)  # somebody only looked (`holder`), which also takes an instant of the lock
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(path: Path) -> int | None:
    """The process that holds the lock; None when nobody does (or it is only about to write its id)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).decode().strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)
    return None
