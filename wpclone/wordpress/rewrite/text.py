"""Finding addresses and directories in text, whatever surrounds them: the flat half of the rewriter.

An address is the source's host after `//` (with user info and `www.` between, a scheme before) and up to where the host, port
and path of a source location end. Each part may be escaped. The result is a list of edits; text between them is never touched.
"""

import re
from dataclasses import dataclass

from wpclone.wordpress.rewrite import hosts, spelling
from wpclone.wordpress.rewrite.directories import Directory
from wpclone.wordpress.rewrite.edits import Edit, apart
from wpclone.wordpress.rewrite.mapping import Location, Mapping, Target
from wpclone.wordpress.rewrite.report import LEFT_PER_VALUE, Left, Reason

_NEAR, _FAR, _MARGIN = 48, 640, 16
"""Bytes before a host to look at: at first, when that may have cut something, and how close to the cut that is."""

_BEFORE = re.compile(
    rb"(?P<www>\.www)?(?P<user>@(?:[a-z0-9._~%!$*+=-]{0,64}:)?[a-z0-9._~-]{1,64})?"
    rb"(?P<lead>(?P<slash>" + spelling.SLASH_BACK + rb")" + spelling.SLASH_BACK + rb")"
    rb"(?:" + spelling.COLON_BACK + rb"(?P<scheme>s?ptth|s?sw|lacbew|deef)?(?P<other>[a-z0-9+])?)?"
)
_AFTER = re.compile(
    rb"(?:" + spelling.COLON + rb"(?P<port>[0-9]{1,5})(?![0-9])|(?!" + spelling.COLON + rb"[0-9]))"
    rb"" + spelling.HOST_END + rb"(?:\.(?=\\*/))?"
)
_NAME_BEFORE = re.compile(rb"[a-z0-9_@.-]|[\x80-\xff]")


@dataclass(frozen=True)
class _Place:
    """A source location ready for matching: a pattern for its path (from the host's end), or None when it has none."""

    ports: frozenset[int | None]
    path: re.Pattern[bytes] | None
    target_path: bytes


class Finder:
    """Finds what a mapping moves. Holds compiled patterns only; shared freely between threads."""

    def __init__(self, mapping: Mapping) -> None:
        self._target = mapping.target
        self._target_host = mapping.target.host.encode("ascii")
        self._places: dict[bytes, list[_Place]] = {}
        self._already: dict[bytes, re.Pattern[bytes]] = {}
        cores: list[bytes] = []
        for location in mapping.sources:
            inside = _already_there(location, mapping.target)
            target_path = (mapping.target.path + location.below).encode()
            for needle in hosts.spellings(location.host):
                self._places.setdefault(needle, []).append(_Place(location.ports, _path(location.path), target_path))
                if inside:
                    self._already[needle] = inside
            cores += hosts.base64_cores(location.host.encode("ascii"))
        self._needles = tuple(self._places)
        self._base64 = tuple(dict.fromkeys(cores))
        self._directories = [Directory(source, target) for source, target in mapping.paths]

    def could_match(self, raw: bytes) -> bool:
        """Whether a closer look is needed: a spelling of the host, base64 of it, or a directory is somewhere in the bytes."""
        lowered = raw.lower()
        for needle in self._needles:
            if needle in lowered:
                return True
        for core in self._base64:
            if core in raw:
                return True
        return any(directory.in_(raw) for directory in self._directories) if self._directories else False

    def in_base64(self, raw: bytes) -> list[int]:
        """Where base64 of the host is, the first `LEFT_PER_VALUE` places."""
        places: list[int] = []
        for core in self._base64:
            at = raw.find(core)
            while at >= 0 and len(places) < LEFT_PER_VALUE:
                places.append(at)
                at = raw.find(core, at + len(core))
        return places

    def find(self, raw: bytes) -> tuple[list[Edit], list[Left]]:
        """All edits of `raw` in order, none overlapping, and what names the source and is no address."""
        lowered = raw.lower()
        edits: list[Edit] = []
        left: list[Left] = []
        for needle, places in self._places.items():
            at, done = lowered.find(needle), 0
            while at >= 0:
                edit = self._address(raw, lowered, at, needle, places, left)
                if edit is not None and edit.start >= done and raw[edit.start : edit.end] != edit.new:
                    edits.append(edit)
                    done = edit.end  # what looks like user info before an e-mail address may be an address itself
                at = lowered.find(needle, at + len(needle))
        for directory in self._directories:
            edits.extend(directory.find(raw, lowered))
        if len(self._needles) + len(self._directories) > 1:
            edits = apart(edits)
        return edits, left

    def _address(self, raw: bytes, lowered: bytes, at: int, needle: bytes, places: list[_Place], left: list[Left]) -> Edit | None:
        after = _AFTER.match(lowered, at + len(needle))
        if after is None:
            return None
        before = _BEFORE.match(lowered[max(0, at - _NEAR) : at][::-1])
        if at > _NEAR and (before is None or before.end() > _NEAR - _MARGIN):
            before = _BEFORE.match(lowered[max(0, at - _FAR) : at][::-1])
        if before is None:
            if at == 0 or not _NAME_BEFORE.match(lowered, at - 1):
                left.append(Left(Reason.BARE_HOST, at))
            return None
        scheme = before["scheme"] or b""
        if not scheme and (before["other"] or before["user"]):
            return None  # ftp://, git://: not what this site answers; //bob@: rather an e-mail address
        port = int(after["port"]) if after["port"] else None
        end, target_path = self._end(raw, after.end(), port, needle, places)
        if end < 0:
            return None
        start = at - before.end("scheme" if scheme else "lead")
        host_at = at - len(before["www"] or b"")
        slash = raw[at - before.end("slash") : at - before.start("slash")]
        new = (
            self._scheme(raw[start : start + len(scheme)])
            + raw[start + len(scheme) : host_at]
            + self._authority(slash, target_path)
        )
        return Edit(start, end, new, 1)

    def _end(self, raw: bytes, at: int, port: int | None, needle: bytes, places: list[_Place]) -> tuple[int, bytes]:
        """Where the matched location ends and its path at the target; -1 when the address is outside all of them or is the
        target's already."""
        inside = self._already.get(needle)
        if inside is not None and (self._target.port == port) and inside.match(raw, at):
            return -1, b""
        for place in places:
            if port not in place.ports:
                continue
            if place.path is None:
                return at, place.target_path
            found = place.path.match(raw, at)
            if found:
                return found.end(), place.target_path
        return -1, b""

    def _scheme(self, old: bytes) -> bytes:
        secure = self._target.scheme == "https"
        known = old.lower()
        if known.startswith(b"http"):
            return b"https" if secure else b"http"
        if known.startswith(b"ws"):
            return b"wss" if secure else b"ws"
        return old  # none, or webcal:, feed:

    def _authority(self, slash: bytes, path: bytes) -> bytes:
        port = b"" if self._target.port is None else spelling.colon_like(slash) + b"%d" % self._target.port
        return self._target_host + port + spelling.like(slash, path)


def _path(path: str) -> re.Pattern[bytes] | None:
    if not path:
        return None
    return re.compile(b"(?i:" + spelling.SLASH + b")" + spelling.segments(path) + b"(?i:" + spelling.PATH_END + b")")


def _already_there(location: Location, target: Target) -> re.Pattern[bytes] | None:
    """A pattern for the rest of an address that is the target's own, when the target lies inside the source location.

    There a second rewrite must find nothing, so `e.com/stage` stays when `e.com` moves to `e.com/stage`: the directory of the
    target hides a page of that name at the source anyway.
    """
    if hosts.without_www(target.host) != location.host or target.port not in location.ports:
        return None
    return _path(target.path) if target.path.startswith(location.path + "/") else None
