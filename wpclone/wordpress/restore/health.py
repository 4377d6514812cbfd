"""Whether a site answers as a WordPress should: asked over HTTP, behind the maintenance while nobody else is let in."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from yarl import URL

from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.restore.target import HEALTH_HEADER, RestoreState
from wpclone.wordpress.session import SiteSession

_SECONDS = 45.0
# What wp-includes/class-wp-fatal-error-handler.php, wp-db.php and PHP itself print.
_FATAL = (
    b"<b>Fatal error</b>", b"PHP Fatal error", b"Fatal error: Uncaught", b"<b>Parse error</b>", b"PHP Parse error",
    b"There has been a critical error", b"Error establishing a database connection",
    b"wp-admin/install.php", b"Allowed memory size of",
)  # fmt: skip


@dataclass(frozen=True)
class PageHealth:
    """One page asked for. `finding` is empty when it is as it should be."""

    name: str
    url: str
    status: int
    bytes: int
    finding: str


@dataclass(frozen=True)
class Health:
    """All pages. `ok`: none has a finding that it did not have before."""

    pages: tuple[PageHealth, ...]
    ok: bool
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return asdict(self)


async def check_health(
    session: SiteSession, site: SiteReport, state: RestoreState | None = None, *, before: Health | None = None
) -> Health:
    """Ask for the home page, the sign-in page and a post. `state` passes through the maintenance of an exchange; a page that was
    already so `before` counts as well."""
    home, core = URL(site.home + "/"), URL(site.siteurl + "/")
    headers = {"Cache-Control": "no-cache", **({HEALTH_HEADER: state.health_key} if state is not None else {})}
    pages = [
        await _page(session, "home", home, headers, whole=True),
        await _page(session, "sign-in", core / "wp-login.php", headers, whole=False),
    ]
    post = await _a_post(session, home, headers)
    if post is not None:
        pages.append(await _page(session, "post", post, headers, whole=True))
    known = {page.name for page in before.pages if page.finding} if before is not None else set()
    findings = tuple(f"{page.name}: {page.finding}" for page in pages if page.finding and page.name not in known)
    return Health(tuple(pages), not findings, findings)


async def _page(session: SiteSession, name: str, url: URL, headers: dict[str, str], *, whole: bool) -> PageHealth:
    asked = url.update_query({"wpclone-health": secrets.token_hex(4)})  # no cache in front of the site knows this address
    try:
        page = await session.fetch("GET", asked, headers=headers, seconds=_SECONDS)
    except SiteError as error:
        elsewhere = error.reason is Reason.SOURCE_REDIRECTS_ELSEWHERE
        return PageHealth(name, str(url), 0, 0, "it redirects to another host" if elsewhere else error.message)
    return PageHealth(name, str(url), page.status, len(page.body), _finding(page.status, page.body, whole))


def _finding(status: int, body: bytes, whole: bool) -> str:
    """What is wrong with a page, if something is."""
    fatal = next((text for text in _FATAL if text in body), None)
    if fatal is not None:
        return f"it says {fatal.decode().strip('<b>/')!r}"
    if status >= 500 or (whole and status != 200):
        return f"status {status}"
    # A page without its end was stopped by an error that is not displayed.
    return "it ends before </html>" if whole and b"</html>" not in body[-20_000:].lower() else ""


async def _a_post(session: SiteSession, home: URL, headers: dict[str, str]) -> URL | None:
    """The newest post's address as the REST interface says it; None where that is switched off or there is no post."""
    asked = home.update_query({"rest_route": "/wp/v2/posts", "per_page": "1", "_fields": "link"})
    try:
        page = await session.fetch("GET", asked, headers=headers, seconds=_SECONDS)
        said = json.loads(page.body)
        url = URL(said[0]["link"])
    except (SiteError, ValueError, LookupError, TypeError):
        return None
    return url if url.host == home.host else None
