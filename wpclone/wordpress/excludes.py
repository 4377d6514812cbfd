"""What a caller wants left out of a copy: globs of paths and of tables, and how much each of them left out.

`*` and `?` match `/` too. A path's glob also leaves out what lies below a directory it names; a table's glob matches the whole
name, or the name without the site's prefix.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

REASON = "excluded on request"


@dataclass(frozen=True)
class Excludes:
    """The globs as they were asked for; paths are relative to the docroot, as the copy lays files out."""

    paths: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Excluded:
    """What one glob left out: how many files or tables, and their bytes. 0: it named nothing. `kind` is path or table."""

    kind: str
    glob: str
    count: int
    bytes: int


class Tally:
    """Counts what each glob leaves out."""

    def __init__(self, excludes: Excludes) -> None:
        self._counts = {(kind, glob): [0, 0] for kind, globs in _kinds(excludes) for glob in globs}

    def add(self, kind: str, glob: str, size: int) -> None:
        """One more file or table of `size` bytes."""
        count = self._counts[kind, glob]
        count[0] += 1
        count[1] += size

    def sums(self) -> tuple[Excluded, ...]:
        """All of them, in the order they were asked for."""
        return tuple(Excluded(kind, glob, *count) for (kind, glob), count in self._counts.items())


def path_glob(path: str, globs: Sequence[str]) -> str | None:
    """The first glob that leaves out this path, or None."""
    return next((glob for glob in globs if _path_pattern(glob).fullmatch(path)), None)


def table_glob(name: str, prefix: str, globs: Sequence[str]) -> str | None:
    """The first glob that leaves out this table, or None."""
    names = (name, name.removeprefix(prefix))
    return next((glob for glob in globs if any(fnmatch.fnmatchcase(one, glob) for one in names)), None)


@lru_cache(maxsize=1024)
def _path_pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob.rstrip("/")).removesuffix(r"\Z") + "(?s:/.*)?")


def _kinds(excludes: Excludes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("path", excludes.paths), ("table", excludes.tables))
