"""Which files a restore exchanges: decided from what both sides have, before anything is written. Pure.

Only what differs is exchanged, each file or whole new directory by itself, so that unchanged files, and the agent's own, are
never touched. Plugins and themes that are not preserved become exactly the source's; everywhere else nothing of the
target's goes away. WordPress itself, its configuration, drop-ins and the web server's files stay the target's.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wpclone.wordpress.file_rules import file_left_out, shown
from wpclone.wordpress.preserve import CACHES, is_host_mu_plugin, is_host_plugin

_CONTENT = b"wp-content/"
_MOST_SHOWN = 200
# What a file's size is rounded up to; another one for its name and what else is kept of it.
_BLOCK = 4096
# Where the target keeps what, most particular first.
_PLACES = (
    (b"wp-content/plugins/", "plugins"),
    (b"wp-content/mu-plugins/", "mu-plugins"),
    (b"wp-content/uploads/", "uploads"),
    (b"wp-content/", "content"),
)


@dataclass(frozen=True)
class FileChoice:
    """What of the files is wanted. `keep_plugins` and `keep_themes` name single ones that stay the target's; `paths` (globs of
    paths from the docroot on; `*` also matches `/`) limit the restore, `exclude` takes out of it."""

    preserve_plugins: bool = True
    preserve_themes: bool = False
    keep_plugins: tuple[str, ...] = ()
    keep_themes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, path: bytes) -> bool:
        """Whether the restore is about this path."""
        if not path.startswith(_CONTENT) or file_left_out(path, self.exclude) is not None:
            return False
        area, _, rest = path[len(_CONTENT) :].partition(b"/")
        name = shown(rest.partition(b"/")[0])
        if area == b"plugins" and (self.preserve_plugins or name in self.keep_plugins or is_host_plugin(name)):
            return False
        if area == b"themes" and (self.preserve_themes or name in self.keep_themes):
            return False
        if area == b"mu-plugins" and is_host_mu_plugin(name):
            return False
        return not self.paths or any(fnmatch.fnmatchcase(shown(path), glob) for glob in self.paths)

    def mirrors(self, path: bytes) -> bool:
        """Whether what the target has more than the source goes away here: below a plugin or theme, and these themselves."""
        area, _, rest = path[len(_CONTENT) :].partition(b"/")
        # The silent index.php beside them is nobody's.
        return area in (b"plugins", b"themes") and rest not in (b"", b"index.php") and self.wants(path)


@dataclass(frozen=True)
class Found:
    """One thing a site has. `kind`: f file, d directory, l link. `path` and `target` (of a link) as in a usual docroot; `root`
    and `here` are how its agent calls it."""

    kind: str
    path: bytes
    size: int
    mtime: int
    mode: int
    target: bytes
    root: str
    here: bytes


@dataclass(frozen=True)
class FilePlan:
    """What is written and exchanged. `writes` are the source's things; `removes` the target's that go away, topmost only.

    `added`, `changed`, `removed` count files (of what goes away: its topmost names), `size` the written files' bytes.
    """

    writes: tuple[Found, ...]
    places: tuple[bytes, ...]
    removes: tuple[bytes, ...]
    roots: tuple[str, ...]
    added: int
    changed: int
    removed: int
    size: int

    def units(self) -> list[tuple[str, str, bytes]]:
        """What is exchanged, as the agent's list has it: kind (r takes its place, x goes away), root, path."""
        made = [("r", *self.address(path)) for path in self.places] + [("x", *self.address(path)) for path in self.removes]
        return made + [("x", root, path) for root, path in CACHES if root in self.roots]

    def address(self, path: bytes) -> tuple[str, bytes]:
        """Where the target keeps a path: one of its roots, and the path below that."""
        for place, root in _PLACES:
            if root in self.roots and path.startswith(place):
                return root, path[len(place) :]
        raise ValueError(f"no place for {shown(path)}")

    def room(self) -> dict[str, int]:
        """Bytes that staging takes at the target, by root: what is exchanged is kept beside, not overwritten."""
        taken: dict[str, int] = {}
        for one in self.writes:
            root, _ = self.address(one.path)
            blocks = -(-one.size // _BLOCK) if one.kind == "f" else 0
            taken[root] = taken.get(root, 0) + (blocks + 1) * _BLOCK
        return taken

    def samples(self) -> dict[str, list[str]]:
        """Some of the paths, for people."""
        return {
            "written": [shown(found.path) for found in self.writes if found.kind != "d"][:_MOST_SHOWN],
            "removed": [shown(path) for path in self.removes][:_MOST_SHOWN],
        }

    def to_json(self) -> dict[str, Any]:
        """Counts and samples."""
        return {
            "added": self.added, "changed": self.changed, "removed": self.removed, "bytes": self.size, **self.samples(),
        }  # fmt: skip


def to_compare(source: Sequence[Found], target: Mapping[bytes, Found], choice: FileChoice) -> list[Found]:
    """The source's files whose content must be compared: the target has one of the same name and size."""
    return [one for one in source if one.kind == "f" and choice.wants(one.path) and _alike(one, target.get(one.path))]


def as_before(source: Sequence[Found], target: dict[bytes, Found], before: Mapping[bytes, tuple[int, int]]) -> set[bytes]:
    """Files that the source did not change since `before`. To the plan, the target has them just so, and what it has beyond
    `before` is not there: `target` is changed accordingly."""
    unchanged = {one.path: one for one in source if one.kind == "f" and before.get(one.path) == (one.size, one.mtime)}
    target.update(unchanged)
    known = {one.path for one in source} | before.keys() | {above for path in before for above in _above(path)}
    for path in [path for path in target if path not in known]:
        del target[path]
    return set(unchanged)


def _alike(one: Found, other: Found | None) -> bool:
    if other is None or one.kind != other.kind:
        return False
    return one.kind == "d" or (one.target == other.target if one.kind == "l" else one.size == other.size)


def make_plan(
    source: Sequence[Found], target: Mapping[bytes, Found], choice: FileChoice, *, same: Collection[bytes], roots: Sequence[str]
) -> FilePlan:
    """The plan. `source`: directories before what is in them; `same`: files of `to_compare` that are equal."""
    writes, places, fresh = [], [], set[bytes]()
    added = changed = 0
    for one in source:
        if not choice.wants(one.path):
            continue
        there = target.get(one.path)
        parent = posixpath.dirname(one.path)
        if _alike(one, there) and (one.kind != "f" or one.path in same) and parent not in fresh:
            continue
        missing = [above for above in _above(one.path) if above not in target and above not in fresh]
        if missing and parent not in fresh:  # a chosen path inside of directories that were not chosen
            fresh.update(missing)
            places.append(missing[0])
        elif parent not in fresh:
            places.append(one.path)
        if one.kind == "d":
            fresh.add(one.path)
        writes.append(one)
        added += one.kind != "d" and there is None
        changed += one.kind != "d" and there is not None
    removes = list(_removes({one.path for one in source}, target, choice))
    size = sum(one.size for one in writes if one.kind == "f")
    return FilePlan(tuple(writes), tuple(places), tuple(removes), tuple(roots), added, changed, len(removes), size)


def _above(path: bytes) -> list[bytes]:
    """The directories a path lies in, topmost first, below the content directory."""
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(2, len(parts))]


def _removes(source: set[bytes], target: Mapping[bytes, Found], choice: FileChoice) -> Iterator[bytes]:
    gone = b"\xff"
    for path in sorted(target):
        if path not in source and not path.startswith(gone + b"/") and choice.mirrors(path):
            gone = path
            yield path


def link_text(found: Found) -> bytes:
    """What a link says: the way from its own directory."""
    start = posixpath.dirname(found.path)
    return posixpath.relpath(found.target or b".", start or b".")
