"""A file that this process puts, whole, into a directory that may belong to an account it runs programs under."""

from __future__ import annotations

import os
from pathlib import Path

from wpclone.standalone.child import Account


def replace_file(path: Path, content: bytes, *, mode: int, owner: Account | None = None) -> None:
    """Replace a file in one step and durably, with exactly this mode and owner. Raises OSError.

    No link at `path` is followed: an account that was taken over must not lead root elsewhere.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        if owner is not None:
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, mode)
        os.fsync(fd)
    os.replace(fresh, path)
