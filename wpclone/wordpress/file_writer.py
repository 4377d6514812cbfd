"""Writes files below a docroot from parts that a possibly hostile source sends.

Nothing is written through a link: links are made last, when no file is written any more, and only to places inside the tree.
A file appears whole or not at all: it is written beside the tree's own names and renamed. All calls block and are short. Making a
file costs more than filling it, so small files are made by several threads at once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from wpclone.wordpress.agent.wire import Part
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.fence import Fence
from wpclone.wordpress.file_rules import LeftOut, shown
from wpclone.wordpress.file_state import CopiedFile, Indexed

_INCOMING = b".wpclone-incoming-"
_LARGE = b"large-"
_WORTH_KEEPING = 1 << 20
# An empty name, `.` or `..` between slashes or ends, or a byte that no name has.
_LEADS_AWAY = re.compile(rb"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
_PIECE = 4 << 20
_STATES = {1: "gone", 2: "unreadable"}
_AT_ONCE = 4
_Done = list[tuple[int, CopiedFile]]


def checked_path(path: bytes) -> bytes:
    """The path if it stays below where it starts; raises SiteError(HOSTILE_PATH)."""
    if _LEADS_AWAY.search(path) or path.startswith(_INCOMING):
        raise SiteError(Reason.HOSTILE_PATH, path=shown(path[:200]))
    return path


@contextmanager
def disk_errors(path: bytes) -> Iterator[None]:
    """Turns what the file system says about `path` into SiteErrors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SiteError(Reason.TOO_LITTLE_SPACE) from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP):
            raise SiteError(
                Reason.HOSTILE_PATH, "The site sent two things of one name; the copy was stopped.", path=shown(path)
            ) from error
        raise


class TreeWriter:
    """The tree below `root` while it is written by the holder of `fence`."""

    def __init__(self, root: Path, fence: Fence) -> None:
        self._root = os.fsencode(root)
        self._fence = fence
        self._incoming = self._root + b"/" + _INCOMING + b"%d" % fence.number
        self._known: set[bytes] = set()
        self._open: _Incoming | None = None
        self._large = -1  # its number, once a part of it came
        self._pool = ThreadPoolExecutor(_AT_ONCE, "wpclone-files")

    def begin(self) -> None:
        """Make the place for files being written; clear away those of attempts before, but for the large file they were at.
        Raises FencedOff before clearing away those of a newer claim."""
        os.makedirs(self._root, mode=0o755, exist_ok=True)
        before = [self._root + b"/" + name for name in os.listdir(self._root) if name.startswith(_INCOMING)]
        self._fence.check()  # a newer claim raises it before it makes its place, so that all that was listed is older
        begun = [place + b"/" + name for place in before for name in os.listdir(place) if name.startswith(_LARGE)]
        begun = [path for path in begun if os.path.getsize(path) >= _WORTH_KEEPING]
        if self._incoming in before:  # the same claim once more
            before.remove(self._incoming)
            shutil.rmtree(self._incoming)
            begun = [path for path in begun if not path.startswith(self._incoming + b"/")]
        os.mkdir(self._incoming, 0o700)
        if begun:
            # Copied, not renamed: a frozen worker of an older claim may still hold the file open.
            self._open = _Incoming.again(max(begun, key=os.path.getsize), self._incoming)
        for place in before:
            shutil.rmtree(place, ignore_errors=True)
        for number in range(_AT_ONCE):
            os.mkdir(self._incoming + b"/%d" % number, 0o700)  # of its own for each thread: a directory takes one name at a time

    def end(self) -> None:
        """Remove the place for files being written, unless there is a large one in it that another attempt can go on with."""
        self._pool.shutdown()
        begun, self._open = self._open, None
        if begun is not None:
            begun.close()
            if begun.size >= _WORTH_KEEPING:
                return
        shutil.rmtree(self._incoming, ignore_errors=True)

    def empty_place(self, name: bytes) -> bytes:
        """A directory of its own for files that others write, empty again at each call; its full path."""
        self._fence.check()
        path = self._incoming + b"/" + name
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        return path

    def offset(self, item: Indexed) -> int:
        """From where on this file's content is wanted: 0, unless an earlier attempt wrote its beginning."""
        begun = self._open
        return begun.size if begun is not None and begun.name == _large_name(item, item.entry.size, item.entry.mtime) else 0

    def directory(self, path: bytes, mode: int = 0o755) -> bytes:
        """Make a directory (and those above it); its full path. No part of it may be a link."""
        full = self._root + b"/" + path if path else self._root
        if full in self._known:
            return full
        if path:
            parent, _, _ = path.rpartition(b"/")
            self.directory(parent)
            with disk_errors(path):
                try:
                    os.mkdir(full, (mode & 0o755) | 0o700)
                except FileExistsError:
                    if os.path.islink(full) or not os.path.isdir(full):
                        raise
        self._known.add(full)
        return full

    def write(self, parts: Sequence[tuple[Indexed, Part]]) -> _Done:
        """Write parts, each file's in order; what was finished by them. Raises FencedOff before writing beside a newer claim."""
        self._fence.check()
        whole = [one for one in parts if _is_whole(one[1])]
        making = [self._pool.submit(self._whole, whole[place::_AT_ONCE], place) for place in range(min(_AT_ONCE, len(whole)))]
        done: _Done = []
        try:
            for item, part in parts:
                finished = None if _is_whole(part) else self._part(item, part)
                if finished is not None:
                    done.append((item.number, finished))
        finally:
            wait(making)  # nothing is written any more once this has returned or raised
        return done + [one for made in making for one in made.result()]

    def _whole(self, parts: Sequence[tuple[Indexed, Part]], place: int) -> _Done:
        """Write files that are one part each, by way of the incoming directory numbered `place`."""
        done: _Done = []
        for item, part in parts:
            with disk_errors(item.local):
                path = self._incoming + b"/%d/%d" % (place, item.number)
                incoming = _Incoming(path, (part.size, part.mtime))
                try:
                    incoming.add(part)
                    done.append((item.number, self._finish(item, part, incoming)))
                finally:
                    incoming.close()
        return done

    def _part(self, item: Indexed, part: Part) -> CopiedFile | None:
        if part.status != 0:
            self._drop()
            return CopiedFile(item.local, 0, "", _STATES.get(part.status, "unreadable"))
        with disk_errors(item.local):
            if part.offset == 0:
                self._drop()
                name = _large_name(item, part.size, part.mtime)
                self._open = _Incoming(self._incoming + b"/" + name, (part.size, part.mtime))
                self._large = item.number
            elif self._open is not None and self._open.name == _large_name(item, part.size, part.mtime):
                self._large = item.number  # goes on where an earlier attempt stopped
            if self._open is None or self._large != item.number or self._open.size != part.offset:
                self._drop()
                return CopiedFile(item.local, 0, "", "changed")
            self._open.add(part)
            if not part.last:
                return None
            incoming, self._open = self._open, None
            return self._finish(item, part, incoming)

    def _finish(self, item: Indexed, part: Part, incoming: _Incoming) -> CopiedFile:
        """Give a whole file its name, unless it changed while it was read."""
        digest = incoming.close((item.entry.mode & 0o755) | 0o600)
        whole = incoming.size == part.size and incoming.first == (part.size, part.mtime)
        if not self.place(item, incoming.path):
            return CopiedFile(item.local, 0, "", "refused")
        return CopiedFile(item.local, incoming.size, digest, "ok" if whole else "changed")

    def place(self, item: Indexed, path: bytes) -> bool:
        """Give a file that lies at `path`, beside the tree's own names, its own; False when no file can be called that. Raises
        FencedOff before writing beside a newer claim."""
        parent, _, name = item.local.rpartition(b"/")
        directory = self.directory(parent)
        self._fence.check()
        try:
            os.replace(path, directory + b"/" + name)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return False
        return True

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            os.unlink(self._open.path)
            self._open = None

    def link(self, path: bytes, target: bytes) -> LeftOut | None:
        """Make a link to another place of the tree, relative; why not, if its target is not in the copy."""
        self._fence.check()
        parent, _, name = path.rpartition(b"/")
        directory = self.directory(parent)
        if os.path.realpath(directory) != os.path.realpath(self._root) + (b"/" + parent if parent else b""):
            raise SiteError(Reason.HOSTILE_PATH, path=shown(path))
        if target and not os.path.lexists(self._root + b"/" + target):
            return LeftOut(shown(path), "a link to something that is not copied")
        fresh = self._incoming + b"/link"
        with disk_errors(path):
            if os.path.lexists(fresh):
                os.unlink(fresh)
            os.symlink(os.path.relpath(b"/" + target, b"/" + parent), fresh)
            os.replace(fresh, directory + b"/" + name)
        return None


def _large_name(item: Indexed, size: int, mtime: int) -> bytes:
    """What a file of several parts is called while it is written: it says which file at the source, and which state of it."""
    return _LARGE + b"%d-%d-%d-%s" % (item.number, size, mtime, hashlib.sha256(item.local).hexdigest()[:16].encode())


def _is_whole(part: Part) -> bool:
    return part.status == 0 and part.offset == 0 and part.last


class _Incoming:
    """A file being written."""

    def __init__(self, path: bytes, first: tuple[int, int]) -> None:
        self.path, self.name, self.size = path, path.rpartition(b"/")[2], 0
        self.first = first  # size and time of the source's file when its first part was read
        self._hash = hashlib.sha256()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        self._closed = False

    @classmethod
    def again(cls, path: bytes, place: bytes) -> _Incoming:
        """A large file of an earlier attempt, copied into `place` to go on with."""
        size, time = path.rpartition(b"/")[2].split(b"-")[2:4]
        made = cls(place + b"/" + path.rpartition(b"/")[2], (int(size), int(time)))
        with open(path, "rb") as begun:
            while piece := begun.read(_PIECE):
                made.write(memoryview(piece))
        return made

    def add(self, part: Part) -> None:
        self.write(part.data)

    def write(self, rest: memoryview) -> None:
        self._hash.update(rest)
        self.size += len(rest)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self, mode: int | None = None) -> str:
        """Close the file, with its own mode and time if it is whole; its SHA-256."""
        if not self._closed:
            self._closed = True
            try:
                if mode is not None:
                    os.fchmod(self._file, mode)
                    os.utime(self._file, (self.first[1], self.first[1]))
            finally:
                os.close(self._file)
        return self._hash.hexdigest()
