"""An HTTP session with one site: checked addresses, no redirect to another host, a time and a size limit on everything."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from wpclone.wordpress.address import AddressPolicy, PinnedResolver
from wpclone.wordpress.errors import Reason, SiteError

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 6
_PAGE_BYTES = 8 << 20
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_READ_BUFFER = 1 << 20
# Named honestly: firewalls that block unknown clients say so, and owners can let this one through.
_AGENT_NAME = "Mozilla/5.0 (compatible; wpclone/2; site copy service)"

_WHOLE_BYTES = 1 << 20

Body = bytes | Mapping[str, str] | aiohttp.FormData


@dataclass(frozen=True)
class Page:
    """One whole answer: the address it came from after redirects, its status, headers (case-insensitive) and body."""

    url: URL
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")


class SiteSession:
    """Talks to sites a user named. One for each attempt at a job; an asynchronous context manager.

    `clock` gives epoch seconds, `chance` randomness (nonces, jitter), `silence` the seconds after which a site that sends nothing
    has stopped answering. Cookies live as long as the session.
    """

    def __init__(
        self, policy: AddressPolicy, *, clock: Callable[[], float], chance: random.Random, silence: float = _SILENCE_SECONDS
    ) -> None:
        self.clock = clock
        self.chance = chance
        self._silence = silence
        self._resolver = PinnedResolver(policy)
        self._http: aiohttp.ClientSession | None = None
        self._basic: dict[tuple[str | None, int | None], str] = {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._resolver, limit=8, use_dns_cache=False),
            # unsafe: sites on bare addresses set cookies too. quote_cookie: WordPress's values must come back as they were.
            cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, connect=30.0, sock_read=self._silence),
            headers={"User-Agent": _AGENT_NAME},
            read_bufsize=_READ_BUFFER,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, data: Body | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, no redirects followed, the body unread. Network failures become SiteErrors."""
        if self._http is None:
            raise RuntimeError("SiteSession is used outside its `async with`")
        await self._resolver.check(url)
        self.remember(url)
        sent = dict(headers or {})
        if basic := self._basic.get((url.host, url.port)):
            sent["Authorization"] = basic
        # aiohttp writes a stream in pieces, and plain bytes in one go that holds everything else up.
        body = io.BytesIO(data) if isinstance(data, bytes) and len(data) > _WHOLE_BYTES else data
        with network_errors(url):
            async with self._http.request(
                method, url.with_user(None), data=body, headers=sent, allow_redirects=False
            ) as response:
                yield response

    def remember(self, url: URL) -> None:
        """Send the `user:password@` of `url`, if it has one, with every request to its host (HTTP Basic)."""
        if url.user:
            said = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
            for port in {url.port, 443} if url.scheme == "http" and url.is_default_port() else {url.port}:
                self._basic[url.host, port] = f"Basic {said}"

    def answers_basic(self, url: URL) -> bool:
        """Whether requests to the host of `url` carry a web server's password, in the place of any other sign-in."""
        return (url.host, url.port) in self._basic

    def cookies(self, url: URL) -> list[str]:
        """The names of the cookies the session would send to `url`."""
        return list(self._http.cookie_jar.filter_cookies(url)) if self._http is not None else []

    async def fetch(
        self, method: str, url: URL, *, data: Body | None = None, headers: Mapping[str, str] | None = None, seconds: float = 60.0
    ) -> Page:
        """The whole answer, at most 8 MiB, after redirects within the host; a redirected POST is repeated as GET, like a
        browser's.

        Raises SiteError: SOURCE_UNREACHABLE, SOURCE_TLS, SOURCE_REDIRECTS_ELSEWHERE, ADDRESS_NOT_ALLOWED.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._fetch(method, url, data, headers)
        except TimeoutError:
            message = f"The site did not answer within {seconds:.0f} s; try again later."
            raise SiteError(Reason.SOURCE_UNREACHABLE, message, host=url.host or "") from None

    async def _fetch(self, method: str, url: URL, data: Body | None, headers: Mapping[str, str] | None) -> Page:
        for _ in range(_MOST_REDIRECTS):
            async with self.request(method, url, data=data, headers=headers) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or not target:
                    return Page(url.with_user(None), response.status, response.headers, await _limited(response))
                url = same_host(url, target)
                if response.status in (301, 302, 303):
                    method, data = "GET", None
        raise SiteError(Reason.SOURCE_BROKEN, "The site redirects in a circle; repair that first.", transient=False)


def same_host(url: URL, location: str) -> URL:
    """The redirect's target if it stays on the host (http → https allowed); raises SiteError(SOURCE_REDIRECTS_ELSEWHERE)."""
    try:
        target = url.join(URL(location))
    except ValueError:
        raise SiteError(Reason.SOURCE_BROKEN, "The site redirects to a malformed address.", transient=False) from None
    same_port = target.port == url.port or (url.scheme == "http" and target.scheme == "https" and target.is_default_port())
    if target.scheme not in ("http", "https") or target.host != url.host or not same_port:
        raise SiteError(
            Reason.SOURCE_REDIRECTS_ELSEWHERE,
            f"The site redirects to {target.origin() if target.host else 'another address'}; give that address instead.",
            host=url.host or "",
        )
    return target.with_user(None)


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(_READ_BUFFER):
        body += piece
        if len(body) > _PAGE_BYTES:
            raise SiteError(Reason.SOURCE_BROKEN, "The site answered with a page of more than 8 MiB.", transient=False)
    return bytes(body)


class network_errors:  # noqa: N801  (a context manager, read as a statement)
    """Turns aiohttp's exceptions about `url` into SiteErrors where they enter."""

    def __init__(self, url: URL) -> None:
        self._host = url.host or ""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError)):
            raise SiteError(Reason.SOURCE_TLS, host=self._host) from error
        if isinstance(error, aiohttp.SocketTimeoutError):  # a ClientError too
            raise SiteError(Reason.SOURCE_UNREACHABLE, "The site stopped answering.", host=self._host) from error
        if isinstance(error, (aiohttp.ClientError, ConnectionError)):
            raise SiteError(Reason.SOURCE_UNREACHABLE, host=self._host) from error
