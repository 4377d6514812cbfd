"""Absolute directories in text: where WordPress stores `/home/u/site/wp-content/uploads`, escaped in any way."""

import re
from collections.abc import Iterator

from wpclone.wordpress.rewrite import spelling
from wpclone.wordpress.rewrite.edits import Edit

_NEAR = 64
_ESCAPE_BACK = rb"[0-9a-f]{2}(?:52)*%|(?:[nrtbf]|[0-9a-f]{4}u)" + spelling.ESCAPER_BACK
_ROOT_BACK = re.compile(rb"(?P<slash>(?>" + spelling.SLASH_BACK + rb"))(?:(?![a-z0-9_.~-])|" + _ESCAPE_BACK + rb")")
"""Before the first segment, reversed: the root's slash with all that escapes it, and no name before it unless it is only an
escape's end."""
_DRIVE_BACK = re.compile(rb"(?![a-z0-9])|" + _ESCAPE_BACK)
_END = re.compile(b"(?i:" + spelling.PATH_END + b")")


class Directory:
    """One directory to move: `/var/www/html` is not `/var/www/html2` and not `/mnt/var/www/html`."""

    def __init__(self, source: str, target: str) -> None:
        self._windows = not source.startswith("/")
        self._pattern = re.compile(spelling.segments(source, windows=self._windows))
        self._target = target.encode()

    def in_(self, raw: bytes) -> bool:
        """Whether its segments occur at all."""
        return self._pattern.search(raw) is not None

    def find(self, raw: bytes, lowered: bytes) -> Iterator[Edit]:
        """Its places in `raw`, in order."""
        for found in self._pattern.finditer(raw):
            if not _END.match(raw, found.end()):
                continue
            behind = lowered[max(0, found.start() - _NEAR) : found.start()][::-1]
            before = (_DRIVE_BACK if self._windows else _ROOT_BACK).match(behind)
            if before is None:
                continue
            start, new = found.start(), self._target
            if not self._windows:
                start -= before.end("slash")
                new = spelling.like(raw[start : found.start()], new)
            if raw[start : found.end()] != new:
                yield Edit(start, found.end(), new, 1)
