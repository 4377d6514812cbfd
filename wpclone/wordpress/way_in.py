"""The way in that a password opens: wp-admin for an account's own, the REST API for an application's."""

from __future__ import annotations

from dataclasses import dataclass

from wpclone.wordpress import application_password
from wpclone.wordpress.agent.client import AgentAddress
from wpclone.wordpress.application_password import Enrolled
from wpclone.wordpress.consent import is_application_password, may_be_application_password
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.login import AdminLogin, install_agent, remove_agent
from wpclone.wordpress.session import SiteSession

_NO_APPLICATIONS = frozenset(
    {
        Reason.LOGIN_REFUSED,
        Reason.REST_HIDDEN,
        Reason.APPLICATION_PASSWORDS_OFF,
        Reason.APPLICATION_PASSWORDS_NEED_HTTPS,
        Reason.AUTHORIZATION_STRIPPED,
    }
)
"""After these, what only might have been an application's password is tried as the account's own."""


@dataclass(frozen=True)
class WayIn:
    """Where an agent answers to us. `plugin` is the owner's, which knows our key now; without it the agent is one we brought."""

    address: AgentAddress
    plugin: str = ""


async def enter(session: SiteSession, login: AdminLogin, *, key: bytes, folder: str, slug: str = "") -> WayIn:
    """Have an agent answer to `key`; repeatable. `folder` is the name of one we bring, `slug` what `enrol` may install.

    Raises SiteError as `install_agent` and `enrol` do.
    """
    if may_be_application_password(login.password):
        try:
            enrolled = await application_password.enrol(session, login, key=key, slug=slug)
            return WayIn(enrolled.address, enrolled.plugin)
        except SiteError as error:
            if is_application_password(login.password) or error.reason not in _NO_APPLICATIONS:
                raise
    return WayIn(await install_agent(session, login, key=key, folder=folder))


async def leave(session: SiteSession, login: AdminLogin, way: WayIn) -> bool:
    """Leave the site as it was; whether the agent is gone, or stays as its owner's. Raises SiteError (AGENT_STAYS)."""
    if way.plugin:
        await application_password.withdraw(session, login, Enrolled(way.address, way.plugin))
        return False
    await remove_agent(session, way.address)
    return True
