"""What a file copy remembers outside of the docroot, so that a retry goes on where a killed attempt stopped.

Three files of lines, only appended to: `index` (what the source has, complete once its last line says so), `copied` (what was
written, with its SHA-256) and `left-out`. A line cut by a kill is dropped on reading; what it stood for is simply done again. A
line of the first two holds many files: one for each would cost as much as to make the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from wpclone.wordpress.agent.wire import Entry
from wpclone.wordpress.file_rules import LeftOut

_VERSION = 2
_FRESH = "index.new"
_KIND_AT = len('["')


@dataclass(frozen=True)
class Indexed:
    """One thing to copy: its number in the index, the root it is below, and what the agent said about it."""

    number: int
    root: int
    entry: Entry
    local: bytes


@dataclass(frozen=True)
class CopiedFile:
    """One file that was written. `state`: `ok`, `changed` (while it was read), `gone`, `unreadable`, `refused`."""

    path: bytes
    size: int
    sha256: str
    state: str


class FileState:
    """The state directory of one copy. Blocking calls, each short or streaming."""

    def __init__(self, directory: Path, fingerprint: Any) -> None:
        self.directory = directory
        self._head = json.dumps([_VERSION, fingerprint], sort_keys=True)
        self._index = directory / "index"
        self._fresh = directory / _FRESH
        self._copied = directory / "copied"
        self._left_out = directory / "left-out"
        self.files = self.bytes = self._entries = 0

    def has_index(self) -> bool:
        """Whether a complete index of this very question is there; loads its totals."""
        try:
            with self._index.open() as lines:
                if lines.readline().rstrip("\n") != self._head:
                    return False
                lines.seek(max(0, self._index.stat().st_size - 200))
                last = lines.read().rstrip("\n").rpartition("\n")[2]
        except (FileNotFoundError, UnicodeDecodeError):
            return False
        if not last.startswith('{"files"'):
            return False
        totals = json.loads(last)
        self.files, self.bytes = totals["files"], totals["bytes"]
        return True

    def begin_index(self, claim: int) -> IO[str]:
        """Forget what was; a file to write the new index to, of this claim's own: what an older one that was frozen in the middle
        still writes reaches nobody."""
        for old in (*self.directory.glob(f"{_FRESH}-*"), self._index, self._copied, self._left_out):
            old.unlink(missing_ok=True)
        self.files = self.bytes = self._entries = 0
        self._fresh = self.directory / f"{_FRESH}-{claim}"
        out = self._fresh.open("w")
        out.write(self._head + "\n")
        return out

    def add(self, out: IO[str], root: int, entries: Sequence[tuple[Entry, bytes]]) -> None:
        """Write entries, each with its path in the copy, to the new index: a line for each kind, with the number of its first."""
        kinds: dict[str, list[list[Any]]] = {}
        for entry, local in entries:
            texts = [value.decode("latin-1") for value in (entry.path, entry.target, local)]
            kinds.setdefault(entry.kind, []).append([entry.size, entry.mtime, entry.mode, *texts])
            if entry.kind in "fF":
                self.files += 1
                self.bytes += entry.size
        for kind, items in kinds.items():
            out.write(json.dumps([kind, self._entries, root, items]) + "\n")
            self._entries += len(items)

    def end_index(self, out: IO[str]) -> None:
        """Make the new index the one that counts."""
        out.write(json.dumps({"files": self.files, "bytes": self.bytes}) + "\n")
        out.close()
        os.replace(self._fresh, self._index)

    def indexed(self, kinds: str) -> Iterator[Indexed]:
        """The entries of these kinds, in the index's order."""
        with self._index.open() as lines:
            lines.readline()
            for line in lines:
                if line.startswith("{"):
                    return
                if line[_KIND_AT] not in kinds:
                    continue
                kind, first, root, items = json.loads(line)
                for number, (size, mtime, mode, *texts) in enumerate(items, first):
                    path, target, local = (text.encode("latin-1") for text in texts)
                    yield Indexed(number, root, Entry(kind, path, size, mtime, mode, target), local)

    def note_copied(self, done: Sequence[tuple[int, CopiedFile]]) -> None:
        """Remember written files; one write, so that a kill cuts at most its last line."""
        if done:
            items = [[number, file.path.decode("latin-1"), file.size, file.sha256, file.state] for number, file in done]
            _append(self._copied, [json.dumps(items)])

    def copied(self) -> Iterator[tuple[int, CopiedFile]]:
        """What was written, by index number."""
        for items in _lines(self._copied):
            for number, path, size, sha256, state in items:
                yield number, CopiedFile(path.encode("latin-1"), size, sha256, state)

    def note_left_out(self, items: Sequence[LeftOut]) -> None:
        """Remember what the copy does not have."""
        _append(self._left_out, [json.dumps([item.name, item.reason]) for item in items])

    def left_out(self) -> tuple[LeftOut, ...]:
        """What the copy does not have, each name once."""
        found = {name: LeftOut(name, reason) for name, reason in _lines(self._left_out)}
        return tuple(found.values())


def copied_files(directory: Path) -> Iterator[CopiedFile]:
    """What a copy whose fence lies in `directory` wrote: for a check of the tree against it."""
    for _, file in FileState(directory, None).copied():
        yield file


def _append(file: Path, lines: Sequence[str]) -> None:
    """Append lines, after ending a line that a kill cut."""
    if not lines:
        return
    with file.open("ab+") as out:
        if out.tell() > 0:
            out.seek(-1, os.SEEK_END)
            if out.read(1) != b"\n":
                out.write(b"\n")
        out.write(("\n".join(lines) + "\n").encode())


def _lines(file: Path) -> Iterator[Any]:
    try:
        with file.open() as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # cut by a kill; done again
    except FileNotFoundError:
        return
