"""A clone's directories, and handing files from the service to the clone's uid without being led astray.

Everything here runs as root on directories that others may change meanwhile. So it walks by file descriptor, never
follows a link, and gives away only what the service or the clone already owned: a hard link to somebody else's file, a
device or a socket stops it.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone.child import Account

_DEEPEST = 200
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class UnsafeFile(RuntimeError):
    """A copied tree holds something that must not be handed over; the message names it."""


@dataclass(frozen=True)
class SiteDirectories:
    """Where one clone lives. `root` is root's; below it each part belongs to whoever must write it."""

    root: Path

    @property
    def staging(self) -> Path:
        """Where the service copies files to, until they are handed over."""
        return self.root / "staging"

    @property
    def docroot(self) -> Path:
        """The site, once handed over."""
        return self.root / "docroot"

    @property
    def guard(self) -> Path:
        """The guard's files: root's to write, the clone's to read."""
        return self.root / "guard"

    @property
    def guard_state(self) -> Path:
        """What the guard writes: captured mail, refused requests, used links."""
        return self.root / "guard-state"

    @property
    def web(self) -> Path:
        """Apache's configuration, log and temporary files."""
        return self.root / "web"


@dataclass(frozen=True)
class Owners:
    """Who is who: the service copies, the clone runs. `change` is False without root, where there is only one account."""

    service: Account
    clone: Account
    change: bool

    def give(self, path: Path, uid: int, gid: int, mode: int) -> None:
        """Set owner and mode of a path in a directory that only root can write."""
        if self.change:
            os.chown(path, uid, gid, follow_symlinks=False)
        path.chmod(mode)


def make_directories(place: SiteDirectories, owners: Owners) -> None:
    """Make what is missing of a clone's directories. Repeatable; staging is not made again once there is a docroot."""
    place.root.mkdir(mode=0o711, exist_ok=True)
    place.root.chmod(0o711)
    clone, service = owners.clone, owners.service
    root = os.getuid()
    wanted = [
        (place.guard, root, clone.gid, 0o750),
        (place.guard_state, clone.uid, clone.gid, 0o700),
        (place.web, root, clone.gid, 0o710),
    ]
    if not place.docroot.exists():
        wanted.append((place.staging, service.uid, service.gid, 0o700))
    for path, uid, gid, mode in wanted:
        path.mkdir(mode=0o700, exist_ok=True)
        owners.give(path, uid, gid, mode)


def hand_over(place: SiteDirectories, owners: Owners) -> None:
    """Staging becomes the docroot, all of it the clone's; repeatable, after a kill too. Raises UnsafeFile, FileNotFoundError.

    Directories become 0750 and files 0640 (0750 when the owner could execute them), with the service's group, so that the
    service may still read what it copied.
    """
    here = place.docroot if place.docroot.exists() else place.staging
    top = os.open(here, _DIRECTORY)
    try:
        _hand_over_directory(top, str(here), owners, 0)
    finally:
        os.close(top)
    if here == place.staging:
        os.rename(place.staging, place.docroot)
        _sync(place.root)


def _hand_over_directory(directory: int, name: str, owners: Owners, depth: int) -> None:
    if depth > _DEEPEST:
        raise UnsafeFile(f"{name} is more than {_DEEPEST} directories deep")
    _claim(directory, name, owners, 0o750)
    # The names first: from here on nobody but the clone can add one, and the walk need not survive that.
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    for entry, status in found:
        path = f"{name}/{entry}"
        if stat.S_ISDIR(status.st_mode):
            with _Opened(entry, _DIRECTORY, directory) as below:
                _hand_over_directory(below, path, owners, depth + 1)
        elif stat.S_ISREG(status.st_mode):
            with _Opened(entry, _FILE, directory) as file:
                _claim(file, path, owners, 0o750 if status.st_mode & stat.S_IXUSR else 0o640)
        elif stat.S_ISLNK(status.st_mode):
            if owners.change:
                os.chown(entry, owners.clone.uid, owners.service.gid, dir_fd=directory, follow_symlinks=False)
        else:
            raise UnsafeFile(f"{path} is neither a file, a directory nor a link")


def _claim(opened: int, name: str, owners: Owners, mode: int) -> None:
    """Give an opened file or directory to the clone, if it was the service's or the clone's own."""
    status = os.fstat(opened)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise UnsafeFile(f"{name} is neither a file nor a directory")
    if status.st_uid != owners.clone.uid:
        linked = stat.S_ISREG(status.st_mode) and status.st_nlink != 1
        if status.st_uid != owners.service.uid or linked:
            raise UnsafeFile(f"{name} is a file of somebody else (uid {status.st_uid}, {status.st_nlink} links)")
    if owners.change:
        os.fchown(opened, owners.clone.uid, owners.service.gid)
    os.fchmod(opened, mode)


class _Opened:
    """A name opened relative to a directory, closed at the end of the block."""

    def __init__(self, name: str, flags: int, directory: int) -> None:
        try:
            self._fd = os.open(name, flags, dir_fd=directory)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                raise UnsafeFile(f"{name} changed while it was handed over") from None
            raise

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def write_into_docroot(place: SiteDirectories, owners: Owners, relative: str, content: bytes) -> None:
    """Put a file of the clone's, mode 0400, at `relative` in the docroot. Each directory on the way must exist and be no link.

    Raises UnsafeFile, for a path that leaves the docroot too.
    """
    *directories, name = relative.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in [*directories, name]):
        raise UnsafeFile(f"{relative!r} is not a path within the docroot")
    opened = [os.open(place.docroot, _DIRECTORY)]
    try:
        for part in directories:
            opened.append(_open_below(part, opened[-1]))
        _write_at(opened[-1], name, content, owners)
    finally:
        for fd in opened:
            os.close(fd)


def _open_below(name: str, directory: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError as error:
        raise UnsafeFile(f"{name} is not a directory of the copied site: {os.strerror(error.errno or 0)}") from None


def _write_at(directory: int, name: str, content: bytes, owners: Owners) -> None:
    fresh = f".{name}.new"
    if fresh in os.listdir(directory):
        os.unlink(fresh, dir_fd=directory)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        if owners.change:
            os.fchown(fd, owners.clone.uid, owners.clone.gid)
        os.fchmod(fd, 0o400)
        os.fsync(fd)
    os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)


def write_guard_file(place: SiteDirectories, owners: Owners, name: str, content: bytes) -> None:
    """Replace one file of the guard, 0640, root's and the clone's group's."""
    path = place.guard / name
    fresh = place.guard / f".{name}.new"
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        if owners.change:
            os.fchown(fd, os.getuid(), owners.clone.gid)
        os.fchmod(fd, 0o640)
        os.fsync(fd)
    os.replace(fresh, path)
    _sync(place.guard)


def remove_tree(path: Path) -> None:
    """Remove a clone's whole directory, whatever modes its site gave the parts. Follows no link; silent when it is gone.

    Raises OSError with what stays. By rm and not shutil.rmtree, which has a call and a descriptor open for each level: a site may
    nest its directories thousands deep, and would never be removed.
    """
    if not path.exists():
        return
    if os.getuid() != 0:  # the site may have taken the rights to its own directories away
        _run("chmod", "-R", "u+rwX", "--", str(path))
    said = _run("rm", "-rf", "--", str(path))
    if path.exists():
        raise OSError(errno.EIO, f"cannot be removed: {said[-300:]}", str(path))


def _run(*command: str) -> str:
    """Run a program of the system; what it complained about."""
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, cwd="/", capture_output=True, check=False)
    return done.stderr.decode(errors="replace").strip()


def _sync(directory: Path) -> None:
    fd = os.open(directory, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
