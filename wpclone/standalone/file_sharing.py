"""Copies files of one clone into another's staging directory as root, sharing their blocks where the file system can.

The source is live and its own user's: whatever lies there may be changed into anything at any moment. So each path is walked by
file descriptor from the docroot, no link is followed, and only plain files that belong to the clone's own user are read: a hard
link to somebody else's file is none. A copy is of its own, never a hard link, because both clones write in place.

Source: ioctl_ficlone(2), copy_file_range(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wpclone.standalone.site_files import Owners, SiteDirectories, UnsafeFile

BRING_INTO = re.compile(r"\.wpclone-incoming-[0-9]{1,19}/near")
"""Where in a staging directory files may be brought: the service's own place for files that are no part of the site yet."""

OK, GONE, CHANGED, REFUSED = "ok", "gone", "changed", "refused"
"""What became of a file. CHANGED: while it was copied. REFUSED: not a plain file of the clone's."""

_FICLONE = 0x40049409
_CANNOT_SHARE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
_CANNOT_COPY = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Brought = tuple[str, int, int]
"""What became of a file, its size in bytes and its time of change in whole seconds."""


def bring_files(
    source: SiteDirectories, source_owners: Owners, target: SiteDirectories, owners: Owners, into: str, paths: Sequence[bytes]
) -> list[Brought]:
    """Copy files of `source`'s docroot to `into` in `target`'s staging, called by their number in `paths`, the service's to own.

    Repeatable: what an earlier call left there is replaced. Raises UnsafeFile for a path that leaves the docroot and for a
    directory that is not the service's, OSError when the disk is full or `into` is missing.
    """
    if not BRING_INTO.fullmatch(into):
        raise UnsafeFile(f"{into!r} is no place to bring files to")
    with _opened_below(os.fsencode(target.staging), into.encode().split(b"/"), owners) as place:
        reader = _Reader(os.open(source.docroot, _DIRECTORY), source_owners.clone.uid if source_owners.change else os.getuid())
        try:
            return [_bring(reader, path, place, str(number), owners) for number, path in enumerate(paths)]
        finally:
            reader.close()


def _bring(reader: _Reader, path: bytes, place: int, name: str, owners: Owners) -> Brought:
    found = reader.open(path)
    if isinstance(found, str):
        return found, 0, 0
    try:
        before = os.fstat(found)
        if not stat.S_ISREG(before.st_mode) or before.st_uid != reader.uid:
            return REFUSED, 0, 0
        _copy(found, before.st_size, place, name, owners)
        after = os.fstat(found)
    finally:
        os.close(found)
    is_same = (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)
    return OK if is_same else CHANGED, before.st_size, int(before.st_mtime)


class _Reader:
    """Opens files below a docroot; the last directory stays open, because files come in the order of directories."""

    def __init__(self, docroot: int, uid: int) -> None:
        self.uid = uid
        self._docroot = docroot
        self._last: tuple[bytes, int] | None = None

    def open(self, path: bytes) -> int | str:
        """A descriptor, or what is wrong. Raises UnsafeFile for a path that leaves the docroot."""
        parent, _, name = path.rpartition(b"/")
        parts = path.split(b"/")
        if b"\0" in path or any(part in {b"", b".", b".."} for part in parts):
            raise UnsafeFile(f"{path!r} is not a path within the docroot")
        try:
            return os.open(name, _FILE, dir_fd=self._directory(parent, parts[:-1]))
        except OSError as error:
            return _what(error)

    def _directory(self, parent: bytes, parts: Sequence[bytes]) -> int:
        if self._last is not None and self._last[0] == parent:
            return self._last[1]
        self._forget()
        opened = os.dup(self._docroot)
        for part in parts:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=opened)
            finally:
                os.close(opened)
            opened = below
        self._last = (parent, opened)
        return opened

    def _forget(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def close(self) -> None:
        """Close all."""
        self._forget()
        os.close(self._docroot)


def _what(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return GONE
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EACCES, errno.ENODEV}:
        return REFUSED
    raise error


@contextmanager
def _opened_below(top: bytes, parts: Sequence[bytes], owners: Owners) -> Iterator[int]:
    """The directory, each on the way being the service's own and no link."""
    opened = os.open(top, _DIRECTORY)
    try:
        for part in parts:
            below = _open_directory(part, opened)
            os.close(opened)
            opened = below
            if os.fstat(opened).st_uid != owners.service.uid and owners.change:
                raise UnsafeFile(f"{part!r} in the staging directory is not the service's")
        yield opened
    finally:
        os.close(opened)


def _open_directory(name: bytes, directory: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise UnsafeFile(f"{name!r} in the staging directory is not a directory") from None
        raise


def _copy(source: int, size: int, place: int, name: str, owners: Owners) -> None:
    try:
        made = os.open(name, _FRESH, 0o600, dir_fd=place)
    except FileExistsError:
        os.unlink(name, dir_fd=place)
        made = os.open(name, _FRESH, 0o600, dir_fd=place)
    try:
        copy_content(source, made, size)
        if owners.change:
            os.fchown(made, owners.service.uid, owners.service.gid)
    finally:
        os.close(made)


def copy_content(source: int, made: int, size: int) -> None:
    """Give the empty file `made` the first `size` bytes of `source`: by sharing blocks, else within the kernel, else by hand.

    Raises OSError.
    """
    if not _shared(source, made):
        _copied(source, made, size)


def _shared(source: int, made: int) -> bool:
    """Whether the new file has the old one's blocks now."""
    try:
        fcntl.ioctl(made, _FICLONE, source)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return False
    return True


def _copied(source: int, made: int, size: int) -> None:
    """Copy the bytes, within the kernel where it can."""
    try:
        while size > 0 and (copied := os.copy_file_range(source, made, size)):
            size -= copied
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(made, 0, os.SEEK_SET)
        while piece := os.read(source, _PIECE):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(made, rest) :]
