"""The ways to one agent, tried in order: its own file, then through WordPress, each plainly and as a form with an answer in text.

Hosts refuse PHP files in wp-content, so an active agent also answers wherever WordPress starts: admin-ajax.php and REST.
Firewalls refuse JSON or spoil binary answers, so questions can look like forms and answers like text: `#text` in an agent's URL.
"""

from __future__ import annotations

from collections.abc import Sequence

from yarl import URL

from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.wire import TEXT
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import SiteSession

# A refusal after which the same place may answer to another form of question.
_FORM_MATTERS = {"400", "403", "405", "406", "409", "411", "415", "417", "418", "500", "501"}
_FINAL = (Reason.ADDRESS_NOT_ALLOWED, Reason.SOURCE_TLS, Reason.SOURCE_BASIC_AUTH, Reason.AGENT_REFUSED, Reason.AGENT_EXPIRED)


def direct(plugins: Sequence[URL], folder: str) -> list[URL]:
    """The agent's own file in each of these plugin directories."""
    return [directory / folder / f"{folder}.php" for directory in plugins]


def through_wordpress(core: URL, home: URL, folder: str) -> list[URL]:
    """Where WordPress itself starts: below its own address, and at the site's."""
    ajax = core.join(URL("wp-admin/admin-ajax.php")).with_query({"action": folder})
    rest = [base.join(URL("index.php")).with_query({"rest_route": f"/{folder}/v2"}) for base in (core, home)]
    return list(dict.fromkeys([ajax, *rest]))


def is_through_wordpress(url: str) -> bool:
    """Whether the agent at this address answers only while WordPress does."""
    return not {"action", "rest_route"}.isdisjoint(URL(url).query)


async def first_open(session: SiteSession, places: Sequence[URL], key: bytes) -> AgentAddress | None:
    """The first of these places where an agent answers to `key`, in the form it answers to; None when there is none.

    Raises SiteError for what no other place or form would change.
    """
    for place in places:
        for url in (place, place.with_fragment(TEXT)):
            address = AgentAddress(str(url), key)
            try:
                await AgentClient(session, address).hello()
            except SiteError as error:
                if error.reason in _FINAL:
                    raise
                if error.metadata.get("agent") != "BUSY":
                    if _form_matters(error):
                        continue
                    break  # not there; a site that is down shows itself at the login page
            return address
    return None


async def opened(session: SiteSession, url: str, key: bytes) -> AgentAddress:
    """The agent at `url` in the form it answers to; raises SiteError with what the plain form met."""
    try:
        await AgentClient(session, AgentAddress(url, key)).hello()
    except SiteError as error:
        if not _form_matters(error):
            raise
        found = await first_open(session, [URL(url)], key)
        if found is None:
            raise
        return found
    return AgentAddress(url, key)


def _form_matters(error: SiteError) -> bool:
    spoilt = error.reason is Reason.SOURCE_DAMAGED_ANSWER
    return spoilt or ("agent" not in error.metadata and error.metadata.get("status") in _FORM_MATTERS)
