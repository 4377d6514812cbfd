"""Consent: the site's own page where an administrator makes an application password for us, and withdraws it whenever they like.

The password is shown on that page and nowhere else: WordPress would also send it to an address of ours, in a URL, which lies in
histories and logs afterwards (wp-admin/authorize-application.php, `success_url`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from yarl import URL

from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.rest import RestIndex, rest_index
from wpclone.wordpress.session import SiteSession

APP_NAME = "wpclone"
#: Ours for ever: WordPress lists the passwords of one application by it.
APP_ID = "6a0f5d1c-6f0e-4c0b-9d0e-2f6f8b3f7c51"
# What WP_Application_Passwords::chunk_password() shows, and the same without its spaces, which an account's own may look like.
_SHOWN = re.compile(r"(?:[A-Za-z0-9]{4} ){5}[A-Za-z0-9]{4}")
_JOINED = re.compile(r"[A-Za-z0-9]{24}")


def is_application_password(password: str) -> bool:
    """Whether it is written as WordPress shows them."""
    return _SHOWN.fullmatch(password.strip()) is not None


def may_be_application_password(password: str) -> bool:
    """Whether it could be one."""
    return is_application_password(password) or _JOINED.fullmatch(password.strip()) is not None


async def consent_page(session: SiteSession, url: str) -> URL:
    """The page of the site at `url` to open in a browser. Raises SiteError: APPLICATION_PASSWORDS_*, REST_HIDDEN, SOURCE_*.

    The name it proposes ends with the time, because WordPress refuses a second password of one name.
    """
    index = await rest_index(session, url)
    if index.is_closed:
        raise SiteError(Reason.REST_HIDDEN, host=index.root.host or "")
    require_offer(index)
    now = datetime.fromtimestamp(session.clock(), UTC)
    return (index.consent or index.root).with_query(app_name=f"{APP_NAME} {now:%Y-%m-%d %H:%M:%S}", app_id=APP_ID)


def require_offer(index: RestIndex) -> None:
    """Raise SiteError unless the site takes application passwords where its index came from, or keeps the index from strangers
    who reach it by https."""
    if index.consent is not None or (index.is_closed and index.root.scheme == "https"):
        return
    host = index.root.host or ""
    if index.is_old:
        sentence = "The site's WordPress (before 5.6) knows no application passwords; update it, or give the account's own."
        raise SiteError(Reason.APPLICATION_PASSWORDS_OFF, sentence, host=host)
    if index.root.scheme != "https":
        raise SiteError(Reason.APPLICATION_PASSWORDS_NEED_HTTPS, host=host)
    raise SiteError(Reason.APPLICATION_PASSWORDS_OFF, host=host)
