"""A clone's log is bounded: its site may write to it in a loop, and must not fill the disk of the others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_BYTES = 10_000_000
KEPT_BYTES = 1_000_000


def trim(log: Path, *, most: int = MOST_BYTES, keep: int = KEPT_BYTES) -> bool:
    """Cut a log of more than `most` bytes to its last lines, `keep` bytes of them at most; whether it was cut.

    Programs that write to it go on at its new end, because they append. What they write in the moment of the cut may be lost.
    Silent when there is no such file; raises OSError.
    """
    try:
        # The file is its site's: it is looked at before anything is done, and nothing is followed or waited for.
        fd = os.open(log, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    with os.fdopen(fd, "r+b", buffering=0) as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size <= most:
            return False
        tail = os.pread(fd, keep, about.st_size - keep)
        file.truncate(0)
        file.write(tail[tail.find(b"\n") + 1 :])
    return True
