"""The way back of addresses: from a clone, or another site, to where a restore's target shows the same things.

`mapping` brings every site to one shape: WordPress at its address's root, content in `wp-content`. A target may have another: it
is in a directory of its host, WordPress in one of its own, content shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from workers.steps.copy_tables import ADDRESSES, mapping, relative
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.rewrite import Mapping
from wpclone.wordpress.rewrite.mapping import Location
from wpclone.wordpress.roots import place_of

_CORE = ("wp-content", "wp-includes", "wp-admin")


def outward(source: SiteReport, target: SiteReport) -> Mapping:
    """Where the source's addresses and directories are at the target: each of its roots where the target has it."""
    there = mapping(source, target.home, target.abspath)
    shape = _Shape.of(target)
    places = {root.place: root.path for root in target.roots}
    content = ((f"{source.abspath.rstrip('/')}/{place}", path) for place, path in places.items() if place)
    pairs = [pair for pair in content if pair[0].startswith("/")]
    without_host = dict(_without_host(source, target, shape))
    moved = [(old, new) for old, new in there.paths if old not in without_host]
    paths = Mapping.of([source.home], target.home, [*pairs, *moved, *without_host.items()]).paths
    return Mapping(tuple(_locations(there, shape)), there.target, paths)


@dataclass(frozen=True)
class _Shape:
    """Where a site shows what a clone has at `/wp-content` and its like: paths on the site's host. `home` is the site's own."""

    home: str
    shown: dict[str, str]

    @classmethod
    def of(cls, site: SiteReport) -> _Shape:
        home, core = urlsplit(site.home), urlsplit(site.siteurl)
        below = (core if core.hostname == home.hostname else home).path.rstrip("/")
        shown = {f"/{name}": f"{below}/{name}" for name in _CORE}
        for name, root in ADDRESSES.items():
            address = urlsplit(str(site.constants.get(name) or ""))
            if address.hostname == home.hostname:
                shown["/" + place_of(site.roots, root)] = address.path.rstrip("/")
        return cls(home.path.rstrip("/"), shown)

    def at(self, place: str) -> str:
        """Where a clone's path is on the site's host."""
        for known in sorted(self.shown, key=len, reverse=True):
            if place == known or place.startswith(known + "/"):
                return self.shown[known] + place[len(known) :]
        return self.home + place

    def below(self, place: str) -> str | None:
        """The same below the site's address; None for what is beside it."""
        path = self.at(place)
        return path[len(self.home) :] if path == self.home or path.startswith(self.home + "/") else None


def _locations(there: Mapping, shape: _Shape) -> list[Location]:
    """The mapping's locations, what is in each where the target shows it; the most specific first."""
    found: dict[tuple[str, frozenset[int | None], str], Location] = {}
    for location in there.sources:
        below = shape.below(location.below) if location.below else ""
        found[location.host, location.ports, location.path] = replace(location, below=location.below if below is None else below)
    for location in there.sources:
        for place in shape.shown if not location.below else ():
            path, below = location.path + place, shape.below(place)
            if below not in (None, place):
                found.setdefault((location.host, location.ports, path), replace(location, path=path, below=below or ""))
    return sorted(found.values(), key=lambda location: -len(location.path))


def _without_host(source: SiteReport, target: SiteReport, shape: _Shape) -> Iterator[tuple[str, str]]:
    """Addresses without a host. What a clone made of the target's own (`/blog/wp-content`: `/wp-content`) is those again."""
    if not urlsplit(source.siteurl).path.rstrip("/"):
        yield from ((place, shape.at(place)) for _, place in relative(target))
    yield from ((old, shape.at(place)) for old, place in relative(source))
