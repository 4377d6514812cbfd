"""Whether an unprivileged account can read what it is to run, found out before it fails in a puzzling way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wpclone.standalone.child import Account


class Unreachable(RuntimeError):
    """An account cannot read a file it needs; the message names the file or the directory in the way, and what to do."""


def refuse_unreachable(account: Account, paths: Iterable[Path], *, own_uid: int) -> None:
    """Raise Unreachable for the first of `paths` that `account` cannot read. Nothing to check for one's own account."""
    if account.uid == own_uid:
        return
    for path in paths:
        real = path.resolve()
        for directory in reversed(real.parents):
            if not _allows(directory, account, 0o1):
                raise Unreachable(
                    f"the service's account (uid {account.uid}) cannot enter {directory}, so it cannot read {real}. "
                    f"Run `chmod o+x {directory}`, or move the checkout to a directory others may enter."
                )
        if not _allows(real, account, 0o5 if real.is_dir() else 0o4):
            raise Unreachable(f"the service's account (uid {account.uid}) cannot read {real}. Run `chmod -R o+rX {real}`.")


def _allows(path: Path, account: Account, bits: int) -> bool:
    """Whether the mode of `path` gives `account` these bits (of rwx); ACLs are not asked."""
    status = path.stat()
    shift = 6 if status.st_uid == account.uid else 3 if status.st_gid == account.gid else 0
    return (status.st_mode >> shift) & bits == bits
