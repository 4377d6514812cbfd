"""Whether a text is the URL of a site. Syntax alone: where it leads is judged by the worker, when it connects."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

LONGEST = 2048
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_USER = re.compile(r"(?P<scheme>https?://)(?P<user>[^/?#@:]+:[^/?#@]*)@(?P<rest>[^@]*)", re.IGNORECASE | re.DOTALL)
_ODD = re.compile(r"[\s\x00-\x1f\x7f<>\"\\^`{|}]")


def without_user(url: str) -> tuple[str, str]:
    """The URL without `user:password@`, and that: what a web server in front of a site asks for (HTTP Basic), in plain text."""
    found = _USER.fullmatch(url)
    return (found["scheme"] + found["rest"], unquote(found["user"])) if found else (url, "")


def fault(url: str) -> str | None:
    """One sentence on what would be right, or None when the URL will do. Never quotes the URL: it may hold a password."""
    if not url:
        return "is needed: an http or https URL such as https://example.com"
    if len(url) > LONGEST:
        return f"must have at most {LONGEST} characters"
    if _ODD.search(url):
        return 'must not contain spaces, control characters or any of <>"\\^`{|}'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a well-formed http or https URL such as https://example.com"
    if port == 0:
        return "must not name port 0"
    return _fault_of_parts(parts)


def _fault_of_parts(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "must start with http:// or https://"
    if "@" in parts.netloc:
        return "must not contain a user or a password"
    if parts.query or parts.fragment:
        return "must not contain a query or a fragment"
    if not _is_host(parts.hostname or ""):
        return "must name a host, such as example.com"
    return None


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _is_name(host)
    return True


def _is_name(host: str) -> bool:
    try:
        plain = host.removesuffix(".").encode("idna").decode() if not host.isascii() else host.removesuffix(".")
    except UnicodeError:
        return False
    labels = plain.split(".")
    if labels[-1].isdigit():  # 127.1 and its like are addresses to some resolvers
        return False
    return len(plain) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
