"""Whether WordPress takes an application password by its other door, XML-RPC, where it travels in the body (xmlrpc.php).

The REST API says the same of a sign-in that never reached PHP and of a wrong one: it looks for its errors before it looks for the
user (rest_application_password_check_errors). This tells them apart where XML-RPC is open.
"""

from __future__ import annotations

from html import escape

from yarl import URL

from wpclone.wordpress.errors import SiteError
from wpclone.wordpress.session import SiteSession

_CALL = (
    '<?xml version="1.0"?><methodCall><methodName>wp.getUsersBlogs</methodName><params><param><value><string>{}</string></value>'
    "</param><param><value><string>{}</string></value></param></params></methodCall>"
)
_WRONG = "<int>403</int>"


async def takes(session: SiteSession, site: URL, username: str, password: str) -> bool | None:
    """Whether the WordPress at `site` takes this sign-in; None where it does not say."""
    call = _CALL.format(escape(username), escape(password)).encode()
    try:
        page = await session.fetch("POST", site.join(URL("xmlrpc.php")), data=call, headers={"Content-Type": "text/xml"})
    except SiteError:
        return None
    if page.status != 200 or "<methodResponse>" not in page.text:
        return None
    if "<fault>" in page.text:
        return False if _WRONG in page.text else None
    return True
