"""A mapping: where a site's content said it lives, and where it is to say so from now on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from wpclone.wordpress.rewrite.hosts import ascii_host, without_www

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class Location:
    """A place on the web, without its scheme: the host without `www.`, the ports it answers on, the path below which it is.

    `ports` holds None when the address is written without a port. `path` is empty or starts with a slash and ends without one.
    `below` is like it: where the location comes to lie below the target.
    """

    host: str
    ports: frozenset[int | None]
    path: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The address to write: its scheme, its host in ASCII, its port unless the default, its path like a `Location`'s."""

    scheme: str
    host: str
    port: int | None
    path: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """One site's old locations (most specific first), its new address, and its directories, old to new."""

    sources: tuple[Location, ...]
    target: Target
    paths: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, source_urls: Sequence[str], target_url: str, paths: Sequence[tuple[str, str]] = ()) -> "Mapping":
        """The mapping of a site's addresses (`home`, `siteurl`) to `target_url`, and of absolute directories to others.

        An address below another of the same host keeps its tail (`siteurl` `https://e.com/wp` of `home` `https://e.com` maps to
        `target/wp`); all others map to the target itself. Both schemes, `//` and `www.` need no mention. ValueError when a URL
        has no http(s) scheme or no host, or a directory is not absolute or is a root.
        """
        locations = [_location(url) for url in source_urls]
        if not locations:
            raise ValueError("a mapping needs at least one source URL")
        kept = [one for one in dict.fromkeys(locations) if not any(_below(one, other) for other in locations)]
        kept.sort(key=lambda location: -len(location.path))
        directories = sorted({_directories(*pair) for pair in paths}, key=lambda pair: -len(pair[0]))
        return cls(tuple(kept), _target(target_url), tuple(directories))


def _below(one: Location, other: Location) -> bool:
    """Whether `one` is inside `other`, and not the same."""
    return one.host == other.host and one.ports == other.ports and one.path.startswith(other.path + "/")


def _split(url: str) -> SplitResult:
    parts = urlsplit(url.strip())
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"not an http or https URL: {url!r}")
    return parts


def _host(parts: SplitResult) -> str:
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else ascii_host(name.rstrip("."))
    if not _HOST.fullmatch(host):
        raise ValueError(f"not a host: {name!r}")
    return host


def _port(parts: SplitResult) -> int | None:
    """The port when it is not the scheme's default."""
    return None if parts.port == _DEFAULT_PORTS[parts.scheme] else parts.port


def _location(url: str) -> Location:
    parts = _split(url)
    port = _port(parts)
    ports = frozenset({None, 80, 443}) if port is None else frozenset({port})
    return Location(without_www(_host(parts)), ports, parts.path.rstrip("/"))


def _target(url: str) -> Target:
    parts = _split(url)
    return Target(parts.scheme, _host(parts), _port(parts), parts.path.rstrip("/"))


def _directories(source: str, target: str) -> tuple[str, str]:
    for path in (source, target):
        if not (path.startswith("/") or _WINDOWS.match(path)):
            raise ValueError(f"not an absolute directory: {path!r}")
    source = source.rstrip("/\\")
    if not source or source.endswith(":"):
        raise ValueError("the root directory cannot be mapped: every path is below it")
    return source, target.rstrip("/\\")
