"""When a value of the clone equals one of the source: the same bytes once both sites' addresses read the same.

Independent of the rewriter on purpose: it never builds the expected value, it takes the addresses out of both sides.
Lengths of PHP-serialized strings are taken out too, because they count the address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_SERIALIZED_LENGTH = re.compile(rb's:\d+:(\\*")')
_TOKEN = b"{site}"
_DIRECTORY = b"{docroot}"


@dataclass(frozen=True)
class Site:
    """A site's address (`http://host:port`) and the directory it lies in."""

    url: str
    docroot: str

    @property
    def host(self) -> str:
        """`host:port`."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """The host without its port."""
        return urlsplit(self.url).hostname or ""

    def spellings(self) -> list[bytes]:
        """`host:port` as it stands in text, JSON and URLs."""
        host = self.host.encode()
        return [host, host.replace(b":", b"%3A"), host.replace(b":", b"%3a")]

    def trace_in(self, content: bytes) -> bytes | None:
        """Some text around the first mention of this site, or None."""
        for spelling in (*self.spellings(), self.name.encode()):
            at = content.find(spelling)
            if at >= 0:
                return content[max(0, at - 60) : at + 60]
        return None

    def without_address(self, content: bytes) -> bytes:
        """`content` with this site's address and directory, and all serialized lengths, replaced by fixed words."""
        for spelling in self.spellings():
            content = content.replace(spelling, _TOKEN)
        content = content.replace(self.docroot.rstrip("/").encode(), _DIRECTORY)
        return _SERIALIZED_LENGTH.sub(rb"s:n:\1", content)
