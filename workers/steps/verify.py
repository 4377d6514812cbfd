"""See that the clone is the site: its home page is whole, and not WordPress asking to be installed."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import structlog

from workers.clone_databases import CloneDatabases
from workers.pages import Page, Pages
from workers.step import Done, StepContext
from workers.steps.copy_files import cursor_directory, forget_cursor
from workers.steps.copy_tables import target
from workers.steps.guard import Guard
from workers.steps.preflight import Preflight, report_of
from wpclone.core.jobs.errors import RetryLater
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.tables import finish_tables

_log = structlog.get_logger(__name__)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_INSTALL = re.compile(r'id="setup"|wp-admin/install\.php|wp-core-ui language-chooser', re.IGNORECASE)


class Verify:
    """The step `verify`. Looks only, then puts away what the copy needed to resume."""

    name = "verify"

    def __init__(self, pages: Pages, databases: CloneDatabases, work: Path) -> None:
        self._pages = pages
        self._databases = databases
        self._work = work

    async def do(self, context: StepContext) -> Done:
        """Facts: `title`, and whether it is the source's. Raises RetryLater(CLONE_UNHEALTHY)."""
        page = await self._pages.get(context.facts[Guard.name]["url"] + "/")
        refuse_unhealthy(page)
        title = title_of(page.text)
        await finish_tables(target(self._databases, context), fence=context.fence)
        await blocking(forget_cursor, cursor_directory(self._work, context.clone_id))
        source = report_of(context.facts[Preflight.name]).title
        return Done(
            {"title": title, "is_titled_as_source": unescape(source).casefold() in page.text.casefold() or source in title}
        )

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""


def refuse_unhealthy(page: Page) -> None:
    """Raise RetryLater(CLONE_UNHEALTHY), saying what is wrong with the home page."""
    if _INSTALL.search(page.text) or page.url.endswith("/wp-admin/install.php"):
        raise RetryLater("CLONE_UNHEALTHY", "The clone shows WordPress's installation page: it does not find its tables.")
    if page.status != 200:
        raise RetryLater("CLONE_UNHEALTHY", f"The clone's home page answers with status {page.status} instead of 200.")
    if "</html>" not in page.text.lower():
        raise RetryLater("CLONE_UNHEALTHY", "The clone's home page is cut off: PHP stopped in the middle of it.")


def title_of(html: str) -> str:
    """The text of the page's title; empty when it has none."""
    found = _TITLE.search(html)
    return " ".join(unescape(found.group(1)).split()) if found else ""
