"""WordPress's REST API at one site: where it is, what its index says, and questions to it with an application password.

Its address is `/wp-json/`, or `?rest_route=/` where permalinks are plain or the first is refused (rest-api.php, get_rest_url).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from yarl import URL

from wpclone.wordpress.address import check_url
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import Page, SiteSession, same_host
from wpclone.wordpress.walls import looks_like_wordpress, refuse_broken

_BASIC_SENTENCE = (
    "The site asks for a web server password (HTTP Basic), which takes the place of an application password in each request; lift"
    " it, give the account's own password, or install the agent by hand (`wpclone agent zip`) and clone with its key instead."
)
_PASSWORDS_ROUTE = "/wp/v2/users/(?P<user_id>(?:[\\d]+|me))/application-passwords"


@dataclass(frozen=True)
class RestIndex:
    """What the REST API says of itself to anybody. `home` is the site's address, `site` WordPress's own; `consent` the page where
    an administrator makes an application password, None when the site offers none; `is_old` says that its WordPress knows none
    (before 5.6); `is_closed` that strangers are not shown the index, so that none of these is known."""

    root: URL
    home: URL
    site: URL
    consent: URL | None = None
    is_old: bool = False
    is_closed: bool = False

    def route(self, route: str) -> URL:
        """The address of `route`, which begins with a slash and may have a query."""
        path, _, query = route.partition("?")
        url = self.root.with_query(rest_route=path) if self.root.query else self.root.join(URL(path[1:]))
        return url.update_query(query)


@dataclass(frozen=True)
class Refusal:
    """A WP_Error as the REST API shows it."""

    code: str
    message: str
    status: int


@dataclass(frozen=True)
class RestAccess:
    """The REST API as whoever an application password belongs to. The password goes to the origin that the index came from."""

    session: SiteSession
    index: RestIndex
    username: str = field(repr=False)
    password: str = field(repr=False)

    async def ask(self, method: str, route: str, data: Mapping[str, str] | None = None) -> object:
        """The JSON of the answer, or a `Refusal`. Raises SiteError for what is no answer of WordPress's."""
        said = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        url = self.index.route(route)
        page = await self.session.fetch(method, url, data=data, headers={"Authorization": f"Basic {said}"})
        found = _json(page)
        if isinstance(found, dict) and page.status >= 300 and isinstance(found.get("code"), str):
            return Refusal(found["code"], str(found.get("message", "")), page.status)
        if found is None or page.status >= 300:
            refuse_broken(page)
            raise SiteError(Reason.REST_HIDDEN, host=url.host or "", status=str(page.status))
        return found


async def rest_index(session: SiteSession, url: str) -> RestIndex:
    """Find the REST API of the site at `url`, asked as a stranger. Raises SiteError (REST_HIDDEN, NOT_WORDPRESS, SOURCE_*)."""
    base = URL(check_url(url))
    session.remember(base)
    base = base.with_user(None)
    if session.answers_basic(base):
        raise SiteError(Reason.SOURCE_BASIC_AUTH, _BASIC_SENTENCE, host=base.host or "")
    first: SiteError | None = None
    for address in (base.join(URL("wp-json/")), base.with_query(rest_route="/")):
        try:
            page = await session.fetch("GET", address)
            found = _json(page)
            if isinstance(found, dict) and (index := _index(page.url, found, page.status)) is not None:
                return index
            refuse_broken(page)
        except SiteError as error:
            if error.reason is Reason.SOURCE_BASIC_AUTH:
                raise SiteError(Reason.SOURCE_BASIC_AUTH, _BASIC_SENTENCE, host=base.host or "") from error
            first = first or error
    if first is not None:
        raise first
    home = await session.fetch("GET", base)
    refuse_broken(home)
    raise SiteError(Reason.REST_HIDDEN if looks_like_wordpress(home) else Reason.NOT_WORDPRESS, host=base.host or "")


def _index(url: URL, found: Mapping[str, object], status: int) -> RestIndex | None:
    plain = "rest_route" in url.query
    root = url.with_query(rest_route="/") if plain else url.with_path(url.path.rstrip("/") + "/").with_query(None)
    home = root.with_path(root.path.removesuffix("wp-json/")).with_query(None)
    if status in (401, 403) and isinstance(found.get("code"), str):
        return RestIndex(root, home, home, is_closed=True)
    routes, offers = found.get("routes"), found.get("authentication")
    if status != 200 or not isinstance(routes, dict):
        return None
    site, consent = home, None
    with suppress(SiteError):
        site = same_host(root, str(found.get("url", "")).rstrip("/") + "/")
    passwords = offers.get("application-passwords") if isinstance(offers, dict) else None
    pages = passwords.get("endpoints") if isinstance(passwords, dict) else None
    if isinstance(pages, dict) and isinstance(pages.get("authorization"), str):
        consent = same_host(root, pages["authorization"])
    return RestIndex(root, home, site, consent, is_old=_PASSWORDS_ROUTE not in routes)


def _json(page: Page) -> object:
    """What the page says; None when it is no JSON. PHP's warnings may stand before it."""
    text = page.text
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    for at in sorted({0, *starts}):
        with suppress(ValueError, RecursionError):
            value: object = json.loads(text[at:])
            return value
    return None
