"""What `wpclone source consent` does: it asks the site itself, from this machine; the service takes no part."""

from __future__ import annotations

import asyncio
import random
import time

from yarl import URL

from wpclone.cli.complaint import Trouble, say
from wpclone.cli.exits import Exit
from wpclone.cli.options import Format
from wpclone.cli.site_tools import show
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.consent import consent_page
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import SiteSession


def consent(url: str, *, output: Format) -> None:
    """Print the page; raises Trouble with the site's reason when it offers none."""
    try:
        page = asyncio.run(_page(url))
    except SiteError as error:
        end = Exit.USAGE if error.reason is Reason.MALFORMED_URL else Exit.UNREACHABLE if error.transient else Exit.SITE
        raise Trouble(end, error.message, hints=(f"reason: {error.reason}",)) from error
    show({"site": url, "url": str(page)}, output)
    say("open the url in a browser, sign in as an administrator and approve; then clone with the password that is shown:")
    say(f"wpclone clone create --source {url} --username NAME")
    say("withdraw it at any time in wp-admin (Users, Profile, Application Passwords)")


async def _page(url: str) -> URL:
    # The user's own machine: it may ask what its user may.
    policy = AddressPolicy(allow_private=True)
    async with SiteSession(policy, clock=time.time, chance=random.SystemRandom()) as session:
        return await consent_page(session, url)
