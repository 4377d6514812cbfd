"""One process of this machine at a time: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.wait import until


class Busy(RuntimeError):
    """Another process holds it; the message says which lock."""


@contextmanager
def held(path: Path, *, within: float) -> Iterator[None]:
    """Hold the lock of this file. Raises Busy when another process has had it for `within` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            until(lambda: _is_ours(file), within=within, every=0.2)
        except AssertionError:
            raise Busy(f"another process has held {path} for {within:.0f} s") from None
        yield


def _is_ours(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
