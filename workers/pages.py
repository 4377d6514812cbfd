"""Gets a page of a clone as a visitor would. Names below `.localhost` are this machine's, whatever a resolver says (RFC 6761)."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from wpclone.core.jobs.errors import RetryLater

_SECONDS = 60.0
_MOST_BYTES = 16 << 20
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class Page:
    """An answer: the address it came from after redirects, its status and its text."""

    url: str
    status: int
    text: str


class Pages:
    """Fetches pages of clones."""

    async def get(self, url: str) -> Page:
        """The page; redirects are followed within its host. Raises RetryLater(CLONE_UNREACHABLE)."""
        try:
            async with asyncio.timeout(_SECONDS):
                connector = aiohttp.TCPConnector(resolver=_Resolver(), use_dns_cache=False)
                async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
                    return await _get(session, url)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RetryLater("CLONE_UNREACHABLE", f"The clone does not answer at {url}.") from error


class _Resolver(AbstractResolver):
    def __init__(self) -> None:
        self._others = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        if host != "localhost" and not host.endswith(".localhost"):
            return await self._others.resolve(host, port, family)
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)
        ]

    async def close(self) -> None:
        await self._others.close()


async def _get(session: aiohttp.ClientSession, url: str) -> Page:
    origin = urlsplit(url).netloc
    for _ in range(_MOST_REDIRECTS):
        async with session.get(url, allow_redirects=False) as response:
            moved = response.headers.get("Location") if 300 <= response.status < 400 else None
            target = str(response.url.join(type(response.url)(moved))) if moved else ""
            if not target or urlsplit(target).netloc != origin:
                body = await response.content.read(_MOST_BYTES)
                while not response.content.at_eof() and len(body) < _MOST_BYTES:
                    body += await response.content.read(_MOST_BYTES - len(body))
                return Page(url, response.status, body.decode("utf-8", "replace"))
        url = target
    raise RetryLater("CLONE_UNHEALTHY", "The clone's home page redirects in circles.")
