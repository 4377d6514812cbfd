"""Gets in with an application password: WordPress's REST API lets us enrol a key at an agent that the site's owner has uploaded.

That API installs plugins of wordpress.org alone, so the agent is there before (`wpclone agent zip --keyless`), or has a name in
the directory. Afterwards the site is as before; WordPress notes when and from where the password was used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Never

from yarl import URL

from wpclone.wordpress.agent.channels import first_open, through_wordpress
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import KEYLESS
from wpclone.wordpress.consent import is_application_password, require_offer
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.login import AdminLogin, is_gone
from wpclone.wordpress.rest import Refusal, RestAccess, rest_index
from wpclone.wordpress.session import SiteSession, same_host
from wpclone.wordpress.xml_rpc import takes

_REFUSED = (
    "WordPress does not take this application password: it was withdrawn, is another account's, or that account may have none;"
    " make a new one on the page that `wpclone source consent` shows."
)
_REFUSED_OR_STRIPPED = (
    "WordPress does not take this application password: it was withdrawn or is another account's (make a new one on the page that"
    " `wpclone source consent` shows), or the web server keeps the Authorization header from PHP (in Apache's .htaccess,"
    " `CGIPassAuth On` passes it on)."
)
_SILENT = "The agent's plugin is active at the site, but does not answer to WordPress's REST API; upload it anew."
_NOT_YOURS = "The site's application passwords are switched off for this account; allow them, or give another administrator's."
_SIGN_IN: Mapping[str, tuple[Reason, str]] = {
    "incorrect_password": (Reason.LOGIN_REFUSED, _REFUSED),
    "invalid_username": (Reason.LOGIN_REFUSED, ""),
    "invalid_email": (Reason.LOGIN_REFUSED, ""),
    "application_passwords_disabled": (Reason.APPLICATION_PASSWORDS_OFF, ""),
    "application_passwords_disabled_for_user": (Reason.APPLICATION_PASSWORDS_OFF, _NOT_YOURS),
}
_ENROLMENT: Mapping[str, tuple[Reason, str]] = {
    "wpclone_file_mods": (Reason.FILE_MODS_DISABLED, ""),
    "wpclone_not_writable": (
        Reason.FILESYSTEM_NOT_DIRECT,
        "PHP may not write into the agent's folder below wp-content/plugins; allow that, or install an agent with a key of its"
        " own (`wpclone agent zip`) and clone with that key instead.",
    ),
    "wpclone_too_many": (Reason.SOURCE_BUSY, ""),
}
_INSTALLATION: Mapping[str, tuple[Reason, str]] = {"fs_unavailable": (Reason.FILESYSTEM_NOT_DIRECT, "")}
_NEEDED = ("install_plugins", "activate_plugins")
_ROUTES = "/wpclone-agent/v1"


@dataclass(frozen=True)
class Enrolled:
    """An agent that answers to our key, and its plugin as WordPress names it (`folder/file`)."""

    address: AgentAddress
    plugin: str


async def enrol(session: SiteSession, login: AdminLogin, *, key: bytes, slug: str = "", lifetime: float = 172_800) -> Enrolled:
    """Have the agent at the site answer to `key` (32 bytes) for `lifetime` seconds; repeatable with the same key.

    An inactive agent is activated; where there is none, the plugin `slug` of the directory is installed, if given. Raises
    SiteError: AGENT_MISSING, AGENT_BLOCKED, APPLICATION_PASSWORDS_*, AUTHORIZATION_STRIPPED, REST_HIDDEN, LOGIN_*,
    FILE_MODS_DISABLED, FILESYSTEM_NOT_DIRECT, SOURCE_*.
    """
    access = await _signed_in(session, login)
    plugin, was = await _agent_plugin(access, slug)
    try:
        said = await _routed(access, plugin, "enrol", {"key": key.hex(), "seconds": str(int(lifetime))})
    except SiteError:
        await _put_back(access, plugin, was)
        raise
    try:
        return Enrolled(await _reach(access, said, key), plugin)
    except SiteError as error:
        with suppress(SiteError):
            await _routed(access, plugin, "withdraw", {"key": key.hex()})
        if error.reason is Reason.AGENT_REFUSED:  # deactivated just now, as after another job's last key
            raise SiteError(error.reason, error.message, transient=True) from error
        raise


async def withdraw(session: SiteSession, login: AdminLogin, enrolled: Enrolled) -> None:
    """Take the key back, and have the plugin be what it was: inactive or away again, if that was for us. Repeatable.

    Where the password is good for nothing any more, the agent itself takes the key back. Raises SiteError(AGENT_STAYS) when the
    plugin then stays active that was not.
    """
    try:
        access = await _signed_in(session, login)
        said = await access.ask("POST", _route(enrolled.plugin, "withdraw"), {"key": enrolled.address.key.hex()})
        if isinstance(said, Refusal):
            raise SiteError(Reason.AGENT_STAYS, url=enrolled.address.url, detail=said.code)
    except SiteError as error:
        if error.transient:
            raise
        await _by_itself(session, enrolled.address, error, is_inactive=error.metadata.get("detail") == "rest_no_route")


async def _by_itself(session: SiteSession, address: AgentAddress, cause: SiteError, *, is_inactive: bool) -> None:
    """The agent takes the key back. An inactive one has none, unless it was made so behind WordPress's back."""
    try:
        ends = await AgentClient(session, address).order({"verb": "remove", "inactive": is_inactive})
    except SiteError as error:
        if error.reason is Reason.AGENT_REFUSED or is_gone(error, address):
            return
        raise
    if not ends or not ends[-1].get("gone") or ends[-1].get("stays"):
        sentence = f"The agent stays active at the site; deactivate it in wp-admin (Plugins). {cause.message}"
        raise SiteError(Reason.AGENT_STAYS, sentence, url=address.url) from cause


async def _signed_in(session: SiteSession, login: AdminLogin) -> RestAccess:
    """WordPress knows us as somebody who may install plugins."""
    index = await rest_index(session, login.url)
    require_offer(index)
    access = RestAccess(session, index, login.username, login.password)
    me = await access.ask("GET", "/wp/v2/users/me?context=edit")
    if isinstance(me, Refusal):
        if me.code == "rest_not_logged_in":
            raise await _why_nobody(session, index.site, login)
        reason, sentence = _SIGN_IN.get(me.code, (Reason.LOGIN_REFUSED, ""))
        raise SiteError(reason, sentence, detail=me.code)
    may = me.get("capabilities") if isinstance(me, dict) else None
    if not isinstance(may, dict) or not all(may.get(needed) for needed in _NEEDED):
        raise SiteError(Reason.LOGIN_LACKS_CAPABILITY)
    return access


async def _why_nobody(session: SiteSession, site: URL, login: AdminLogin) -> SiteError:
    """Why the REST API knows nobody by our sign-in."""
    # What may be an account's own goes through no other door than it was given for.
    taken = await takes(session, site, login.username, login.password) if is_application_password(login.password) else None
    if taken:
        return SiteError(Reason.AUTHORIZATION_STRIPPED)
    return SiteError(Reason.LOGIN_REFUSED, _REFUSED_OR_STRIPPED if taken is None else _REFUSED)


async def _agent_plugin(access: RestAccess, slug: str) -> tuple[str, str]:
    """The agent's plugin, active now, and what it was before: active, inactive or missing."""
    plugins = await access.ask("GET", "/wp/v2/plugins")
    if not isinstance(plugins, list):
        _refuse(plugins, {})
    ours = [plugin for plugin in plugins if isinstance(plugin, dict) and plugin.get("textdomain") == KEYLESS]
    ours.sort(key=lambda plugin: (plugin.get("status") != "active", str(plugin.get("plugin"))))
    if ours and ours[0].get("status") == "active":
        return str(ours[0]["plugin"]), "active"
    if not ours and not slug:
        raise SiteError(Reason.AGENT_MISSING)
    # What the agent is told here is what it does after the last key.
    if ours:
        was, note, change = "inactive", "activated", {}
    else:
        was, note, change = "missing", "installed", {"slug": slug}
    route = f"/wp/v2/plugins/{ours[0]['plugin']}" if ours else "/wp/v2/plugins"
    made = await access.ask("POST", route, {**change, "status": "active", "wpclone_agent": note})
    if not isinstance(made, dict):
        _refuse(made, _INSTALLATION)
    return str(made["plugin"]), was


async def _put_back(access: RestAccess, plugin: str, was: str) -> None:
    """Undo what was done for an agent that enrols nobody."""
    with suppress(SiteError):
        if was != "active":
            await access.ask("POST", f"/wp/v2/plugins/{plugin}", {"status": "inactive"})
        if was == "missing":
            await access.ask("POST", f"/wp/v2/plugins/{plugin}?_method=DELETE")  # the verb itself is refused by some firewalls


async def _routed(access: RestAccess, plugin: str, verb: str, data: Mapping[str, str]) -> Mapping[str, Any]:
    said = await access.ask("POST", _route(plugin, verb), data)
    if isinstance(said, Refusal) and said.code == "rest_no_route":
        # Also when another job's last key has just been taken back, and the plugin was made inactive again for that.
        raise SiteError(Reason.AGENT_BLOCKED, _SILENT, transient=True, detail=said.code)
    if not isinstance(said, dict):
        _refuse(said, _ENROLMENT)
    return said


async def _reach(access: RestAccess, said: Mapping[str, Any], key: bytes) -> AgentAddress:
    """The way to the agent that is open: its own file, else through WordPress."""
    index = access.index
    places = through_wordpress(index.site, index.home, str(said.get("name", "")))
    with suppress(SiteError):
        places.insert(0, same_host(index.root, str(said.get("url", ""))))
    found = await first_open(access.session, places, key)
    if found is None:
        raise SiteError(Reason.AGENT_BLOCKED, host=index.site.host or "")
    return found


def _route(plugin: str, verb: str) -> str:
    return f"{_ROUTES}/{plugin.partition('/')[0]}/{verb}"


def _refuse(said: object, known: Mapping[str, tuple[Reason, str]]) -> Never:
    """Raise why WordPress refused."""
    if not isinstance(said, Refusal):
        raise SiteError(Reason.REST_HIDDEN)
    if said.code in known:
        reason, sentence = known[said.code]
        raise SiteError(reason, sentence, detail=said.code)
    if said.status in (401, 403):
        raise SiteError(Reason.LOGIN_LACKS_CAPABILITY, detail=said.code)
    sentence = f"WordPress refused to use the agent's plugin ({said.code}); see to that in wp-admin (Plugins), then try again."
    raise SiteError(Reason.AGENT_BLOCKED, sentence, detail=said.code)
