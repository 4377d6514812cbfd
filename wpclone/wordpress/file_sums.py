"""Counts and sums of a copy's files by directory, made as they are written; in any order and however often resumed, the same.

A directory's digest is the sum, modulo 2²⁵⁶, of SHA-256(path, NUL, the file's SHA-256 in hexadecimal) over its files, the path
relative to the docroot: `sha256sum` of a tree is all one needs to check it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from wpclone.wordpress.file_rules import shown

MOST = 200
"""Directories listed; what is in others is one more line."""
OTHERS = "(others)"
_MODULUS = 1 << 256
_DEEP = b"wp-content"


@dataclass(frozen=True)
class DirectorySum:
    """A directory with all below it: `wp-content/<kind>/<name>`, one of the docroot's, or `.` for the docroot's own files."""

    path: str
    files: int
    bytes: int
    digest: str


class DirectorySums:
    """Adds up files."""

    def __init__(self) -> None:
        self._sums: dict[bytes, list[int]] = {}

    def add(self, path: bytes, size: int, sha256: str) -> None:
        """One more file."""
        entry = self._sums.setdefault(directory_of(path), [0, 0, 0])
        digest = hashlib.sha256(path + b"\0" + sha256.encode()).digest()
        entry[0] += 1
        entry[1] += size
        entry[2] = (entry[2] + int.from_bytes(digest, "big")) % _MODULUS

    def sums(self) -> tuple[DirectorySum, ...]:
        """The sums by path; of more than `MOST` directories the largest, and the rest together."""
        largest = sorted(self._sums, key=lambda path: (-self._sums[path][1], path))
        found = [_sum(shown(path), [self._sums[path]]) for path in sorted(largest[:MOST])]
        rest = [self._sums[path] for path in largest[MOST:]]
        return (*found, _sum(OTHERS, rest)) if rest else tuple(found)


def directory_of(path: bytes) -> bytes:
    """The directory whose sum a file belongs to."""
    parts = path.split(b"/")[:-1]
    return b"/".join(parts[: 3 if parts[:1] == [_DEEP] else 1]) or b"."


def _sum(path: str, entries: Iterable[list[int]]) -> DirectorySum:
    files, size, digest = (sum(numbers) for numbers in zip(*entries, strict=True))
    return DirectorySum(path, files, size, f"{digest % _MODULUS:064x}")
