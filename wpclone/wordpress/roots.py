"""The directories of a source and where they lie in a copy.

WordPress lets the content, plugin and upload directories be anywhere. What lies below the core's directory keeps its place in the
copy, because the constants that name it move along (see wp_config). What lies outside comes to WordPress's default place for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wpclone.wordpress.file_rules import directories_left_out, shown

_PLACES = {
    "core": "", "content": "wp-content", "plugins": "wp-content/plugins", "mu-plugins": "wp-content/mu-plugins",
    "uploads": "wp-content/uploads",
}  # fmt: skip


@dataclass(frozen=True)
class Root:
    """One tree to copy: the agent's `name` for it, its `path` there, its `place` in the copy, relative to the docroot.

    `usual` are directories below it that WordPress's defaults call otherwise: (path below the root, usual path in a docroot).
    `real` is its path without links.
    """

    name: str
    path: str
    place: str
    usual: tuple[tuple[str, str], ...] = ()
    real: str = ""

    def local(self, path: bytes) -> bytes:
        """Where a path below this root lies in the copy, relative to its docroot."""
        return self.place.encode() + b"/" + path if self.place else path

    def rule_path(self, path: bytes) -> bytes:
        """The path as the file rules name it: with `wp-content` for the content directory, whatever it is called here."""
        for here, usual in self.usual:
            head = here.encode()
            if path == head or path.startswith(head + b"/"):
                return usual.encode() + path[len(head) :]
        return self.local(path)

    def skipped(self) -> dict[bytes, str]:
        """Paths below this root, as the source names them, that no copy gets, with the reason."""
        found = {}
        for left_out, reason in directories_left_out().items():
            for here, usual in (*self.usual, ("", self.place)):
                head = usual.encode()
                if not head or left_out.startswith(head + b"/"):
                    found[(here.encode() + b"/" + left_out[len(head) :].lstrip(b"/")).strip(b"/")] = reason
                    break
        return found


def place_of(roots: Sequence[Root], name: str) -> str:
    """Where the directory `name` (`content`, `plugins`…) of the source lies in the copy, relative to its docroot."""
    for root in roots:
        if root.name == name:
            return root.place
    for root in roots:
        for here, usual in root.usual:
            if usual == _PLACES[name]:
                return root.local(here.encode()).decode()
    return _PLACES[name]


def roots_to_copy(roots: Mapping[str, bytes], real: Mapping[str, bytes]) -> tuple[Root, ...]:
    """The trees to copy, none inside another. `real` are the paths without links."""
    found: list[Root] = []
    for name, place in _PLACES.items():
        path = roots.get(name)
        if path is None:
            continue
        holder = next((root for root in found if _below(path, root.path.encode())), None)
        if holder is None:
            found.append(Root(name, shown(path), place, real=shown(real.get(name, b""))))
            continue
        here = path[len(holder.path.encode()) :].strip(b"/")
        if holder.rule_path(here) != place.encode():
            found[found.index(holder)] = replace(holder, usual=((shown(here), place), *holder.usual))
    return tuple(found)


def _below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")
