"""Addresses that users give us: which may be contacted, and a resolver that contacts only what was checked.

A URL from a user is a way to make this service talk to anything it can reach (SSRF). So each host is resolved once, every address
it has is judged, and connections go to exactly those addresses: a name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from wpclone.wordpress.errors import Reason, SiteError

Address = IPv4Address | IPv6Address

_RESOLVE_SECONDS = 10.0
_URL_LENGTH = 2000
# Cloud metadata lives on link-local addresses and on these; nobody's WordPress does.
_METADATA = [ip_network(n) for n in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "192.0.0.192/32")]
_NAT64 = ip_network("64:ff9b::/96")
# The pages people copy from their address bar instead of the site's address.
_PAGES = ("/wp-admin", "/wp-login.php")


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses besides public ones may be contacted.

    `allow_private`: also loopback, `*.localhost` and private networks, never link-local or metadata addresses.
    `allow_hosts`: names (`host` or `host:port`) that may resolve to anything.
    """

    allow_private: bool = False
    allow_hosts: frozenset[str] = frozenset()

    def refuses(self, address: Address, *, host: str, port: int) -> bool:
        """Whether a connection to `host:port` at `address` is refused."""
        if host in self.allow_hosts or f"{host}:{port}" in self.allow_hosts:
            return False
        address = _embedded(address)
        if address.is_multicast or address.is_unspecified or any(address in network for network in _METADATA):
            return True
        if address.is_global:
            return False
        return not (self.allow_private and (address.is_private or address.is_loopback))


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def check_url(url: str) -> str:
    """The site address in `url` with one trailing slash; raises SiteError(MALFORMED_URL). Syntax only, no network."""
    trimmed = url.strip()
    if not trimmed or len(trimmed) > _URL_LENGTH or any(ord(c) <= 0x20 or ord(c) == 0x7F for c in trimmed):
        raise SiteError(Reason.MALFORMED_URL)
    try:
        parsed = URL(trimmed)
        host, port = parsed.host, parsed.port
    except ValueError:
        raise SiteError(Reason.MALFORMED_URL) from None
    if parsed.scheme not in ("http", "https") or not host or not port or "\\" in trimmed:
        raise SiteError(Reason.MALFORMED_URL)
    path = parsed.path
    for page in _PAGES:
        head, found, _ = path.partition(page)
        path = head if found else path
    return str(parsed.with_path(path.rstrip("/") + "/").with_query(None).with_fragment(None))


def is_local_name(host: str) -> bool:
    """Whether RFC 6761 reserves the name for loopback."""
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of `host`; raises SiteError(SOURCE_UNREACHABLE) for a name that has none."""
    try:
        return [ip_address(host)]
    except ValueError:
        pass  # a name, not an address
    if is_local_name(host):
        return [IPv4Address("127.0.0.1")]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise SiteError(
            Reason.SOURCE_UNREACHABLE, f"The name {host} has no address; check the URL.", transient=False, host=host
        ) from None
    return list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in found))


async def checked_addresses(host: str, port: int, policy: AddressPolicy) -> list[Address]:
    """The addresses of `host` if the policy allows every one; raises SiteError(ADDRESS_NOT_ALLOWED)."""
    addresses = await resolve(host, port)
    for address in addresses:
        if policy.refuses(address, host=host, port=port):
            raise SiteError(Reason.ADDRESS_NOT_ALLOWED, host=host)
    return addresses


async def check_address(url: str, policy: AddressPolicy) -> None:
    """Raise SiteError unless `url` is well formed and its host may be contacted."""
    parsed = URL(check_url(url))
    await checked_addresses(parsed.host or "", parsed.port or 0, policy)


class PinnedResolver(AbstractResolver):
    """Resolves each host once, refuses what the policy refuses, and answers the same addresses ever after."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._pinned: dict[tuple[str, int], list[Address]] = {}

    async def check(self, url: URL) -> None:
        """Judge the host of `url`, also when it is an address in digits, which aiohttp never passes to a resolver."""
        await self._addresses(url.host or "", url.port or 0)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        known = self._pinned.get((host, port))
        if known is None:
            known = self._pinned[host, port] = await checked_addresses(host, port, self._policy)
        return known

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """aiohttp's question, answered from what was checked."""
        wanted = {socket.AF_INET: 4, socket.AF_INET6: 6}.get(family)
        return [
            ResolveResult(
                hostname=host, host=str(address), port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
            )
            for address in await self._addresses(host, port)
            if wanted in (None, address.version)
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing to close."""
