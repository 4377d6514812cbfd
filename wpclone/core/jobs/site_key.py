"""One name for a site, whoever spells its address: what the one-writer rule goes by."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

_LONGEST = 255
_PORTS = {"http": 80, "https": 443}
_INSIDE = ("/wp-content/", "/wp-admin", "/wp-login.php")
"""Where a path leads into a site: an agent's address names the site it lies in."""


def site_key(url: str) -> str:
    """The site's key: host, port unless it is usual, path without what lies inside the site. ASCII, at most 255 characters.

    The scheme makes no difference, nor does the case of the host or a `www.`. Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").removeprefix("www.")
    if not host.isascii():
        host = host.encode("idna").decode()
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    path = parts.path
    for inside in _INSIDE:
        path = path.partition(inside)[0]
    key = f"{host}{port}{path.rstrip('/')}"
    if key.isascii() and len(key) <= _LONGEST:
        return key
    return f"{host[:180]}{port}#{hashlib.sha256(key.encode()).hexdigest()}"
