"""Get an agent onto a site with an administrator's sign-in, and off it again.

The agent is uploaded as a plugin but never activated: it answers at its own address, so no option of the site changes. What stays
after removal is what WordPress itself writes: a spent session token, cron entries, one attachment id used up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yarl import URL

from wpclone.wordpress.address import check_url
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import agent_zip
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import SiteSession
from wpclone.wordpress.wp_admin import WpAdmin

_GONE = {"404", "410"}


@dataclass(frozen=True)
class AdminLogin:
    """An administrator's sign-in at `url`, the site's home page or its WordPress address."""

    url: str
    username: str
    password: str = field(repr=False)


async def install_agent(
    session: SiteSession, login: AdminLogin, *, key: bytes, folder: str, lifetime: float = 172_800
) -> AgentAddress:
    """The address of the agent in `folder` (8 to 60 of a-z, 0-9, '-'; unguessable).

    It answers to `key` for `lifetime` seconds. Repeatable: an agent of an earlier attempt is found and nothing is uploaded.
    Signs out again. Raises SiteError with what stands in the way; then nothing of ours stays at the site.
    """
    admin = await WpAdmin.find(session, check_url(login.url))
    address = AgentAddress(str(_agent_url(URL(login.url), admin.base, folder)), key)
    if await _answers(session, address):
        return address
    await admin.sign_in(login.username, login.password)
    try:
        await admin.upload_plugin(folder, agent_zip(key=key, folder=folder, expires_at=int(session.clock() + lifetime)))
        try:
            await AgentClient(session, address).hello()
        except SiteError:
            await admin.delete_plugin(folder)
            raise
    finally:
        await admin.sign_out()
    return address


async def remove_agent(session: SiteSession, address: AgentAddress) -> None:
    """The agent deletes itself with its folder and state. Success when it has gone already. Raises SiteError."""
    try:
        is_gone = await AgentClient(session, address).remove()
    except SiteError as error:
        if error.metadata.get("status") in _GONE:
            return
        raise
    if not is_gone:
        raise SiteError(Reason.AGENT_BLOCKED, "The agent may not delete its own file; delete its folder in wp-content/plugins.")


async def _answers(session: SiteSession, address: AgentAddress) -> bool:
    try:
        await AgentClient(session, address).hello()
    except SiteError as error:
        if error.reason in (Reason.SOURCE_UNREACHABLE, Reason.SOURCE_TLS, Reason.ADDRESS_NOT_ALLOWED, Reason.AGENT_EXPIRED):
            raise
        return False
    return True


def _agent_url(given: URL, base: URL, folder: str) -> URL:
    """The plugin's file below the standard content directory, with the Basic credentials that came in the URL."""
    url = base / "wp-content/plugins" / folder / f"{folder}.php"
    return url.with_user(given.user).with_password(given.password) if given.user else url
