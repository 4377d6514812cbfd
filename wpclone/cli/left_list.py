"""`wpclone clone left`: the list of what a copy left, read from the clone as its administrator by a sign-in link."""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urljoin, urlsplit

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit
from wpclone.cli.session import Terms, run
from wpclone.client import CloneClient

_SECONDS = 60.0
_PAGE = "?wpclone-left"
"""Below wp-admin; wpclone/wordpress/guard/mu-plugin.php answers it."""


def left(terms: Terms, clone_id: str) -> None:
    """Print the clone's list."""

    async def work(client: CloneClient) -> Exit:
        link = await client.create_sign_in_link(clone_id)
        await asyncio.to_thread(sys.stdout.writelines, lines_of(link.url))
        return Exit.OK

    run(terms, work)


def lines_of(link: str) -> Iterator[str]:
    """The list's JSON lines. `link` is a sign-in link nobody has opened. Raises Trouble."""
    with _answer(link, {}) as signed_in:
        location = urljoin(link, signed_in.getheader("Location", ""))
        if signed_in.status != http.HTTPStatus.FOUND or _origin(location) != _origin(link):
            raise Trouble(Exit.UNREACHABLE, f"the clone does not let us in (HTTP {signed_in.status}); try again")
        cookies = [cookie.partition(";")[0] for cookie in signed_in.headers.get_all("Set-Cookie", [])]
    with _answer(urljoin(location, _PAGE), {"Cookie": "; ".join(cookies)}) as answer:
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise Trouble(Exit.NOT_FOUND, "this clone has no list of what was left: it is older than such lists")
        if answer.status != http.HTTPStatus.OK or "ndjson" not in answer.getheader("Content-Type", ""):
            raise Trouble(Exit.UNREACHABLE, f"the clone does not give its list (HTTP {answer.status}); try again")
        for line in answer:
            yield line.decode()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


@contextmanager
def _answer(url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    """GET `url`. Raises Trouble when nobody answers, or stops answering."""
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}", headers={**headers, "Host": parts.netloc})
        yield connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(Exit.UNREACHABLE, f"the clone at {parts.netloc} does not answer: {error}") from error
    finally:
        connection.close()


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    name = parts.hostname or ""
    # Every name under `.localhost` is this machine (RFC 6761 §6.3), which not every resolver knows.
    host = "127.0.0.1" if name.endswith(".localhost") else name
    if parts.scheme == "https":
        return http.client.HTTPSConnection(name, parts.port, timeout=_SECONDS)
    return http.client.HTTPConnection(host, parts.port, timeout=_SECONDS)
