"""Brings the agent to a site with an administrator's login, the way a person would: sign in, upload a plugin, sign out.

The plugin answers at its own address, and is activated only where the host refuses that. Only plugin-install.php is visited and
not plugins.php, because security plugins ask for the password again there. What stays behind is what WordPress itself writes at a
sign-in and an upload (user meta of sessions, an attachment's id used up, a scheduled clean-up); see wp-login.php,
wp-admin/update.php and class-file-upload-upgrader.php.
"""

from __future__ import annotations

import asyncio
import html
import re
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from wpclone.wordpress.address import check_url
from wpclone.wordpress.agent.channels import direct, first_open, through_wordpress
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import agent_zip
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.html_forms import Document, Form, parsed
from wpclone.wordpress.session import Page, SiteSession, same_host
from wpclone.wordpress.walls import looks_like_wordpress, refuse_broken, refused_sign_in

_UPLOAD_PAGE = "wp-admin/plugin-install.php?tab=upload"
_LOGOUT = re.compile(r"wp-login\.php\?action=logout[^\"'\s]*_wpnonce=([0-9a-f]+)")
_CONTENT = re.compile(r"(https?:[^\"'\s<>]+?/)(?:plugins|themes)/(?=[\w.-]+/)")
_SIGN_OUT_SECONDS = 20.0
_OVERWRITE = "action=upload-plugin-cancel-overwrite"


@dataclass(frozen=True)
class AdminLogin:
    """An administrator of a site, as its owner signs in."""

    url: str
    username: str = field(repr=False)
    password: str = field(repr=False)


async def install_agent(
    session: SiteSession, login: AdminLogin, *, key: bytes, folder: str, lifetime: float = 172_800
) -> AgentAddress:
    """Put the agent into `folder` of the site's plugins and return where it answers to `key`. Lives `lifetime` seconds.

    Repeatable with the same key and folder: an agent that answers already is simply returned. Raises SiteError with the wall
    that was met (SOURCE_*, LOGIN_*, NOT_WORDPRESS, FILE_MODS_DISABLED, FILESYSTEM_NOT_DIRECT, UPLOAD_REFUSED, AGENT_BLOCKED).
    """
    base = URL(check_url(login.url))
    session.remember(base)
    base = base.with_user(None)
    there = await first_open(session, direct([base.join(URL("wp-content/plugins/"))], folder), key)
    if there is not None:
        return there
    admin = _Admin(session, login)
    try:
        await admin.sign_in(base)
        package = agent_zip(key=key, folder=folder, expires_at=int(session.clock() + lifetime))
        await admin.upload(folder, package)
        found = await first_open(session, direct(admin.plugin_addresses(), folder), key)
        if found is None and admin.has_kept_upload:
            tried = admin.plugin_addresses()
            await admin.look_at(base)
            found = await first_open(session, direct([one for one in admin.plugin_addresses() if one not in tried], folder), key)
        if found is None and admin.has_kept_upload:
            # The host does not run PHP files there: WordPress does, once the plugin is active.
            await admin.activate(folder)
            found = await first_open(session, through_wordpress(admin.site, base, folder), key)
        if found is None:
            await admin.delete_plugin(folder)
            if not admin.has_kept_upload:
                # WordPress unpacks below wp-content/upgrade, which any other upload at that moment empties first.
                raise SiteError(Reason.UPLOAD_REFUSED, transient=True)
            raise SiteError(Reason.AGENT_BLOCKED, host=base.host or "")
        return found
    finally:
        await asyncio.shield(admin.sign_out())


async def remove_agent(session: SiteSession, address: AgentAddress) -> None:
    """Have the agent delete itself with all it wrote; success when it is gone already. Raises SiteError(AGENT_STAYS) when it
    cannot."""
    try:
        gone = await AgentClient(session, address).remove()
    except SiteError as error:
        if is_gone(error, address):
            return
        raise
    if not gone:
        raise SiteError(Reason.AGENT_STAYS, url=address.url)


def is_gone(error: SiteError, address: AgentAddress) -> bool:
    """Whether this answer to a question to the agent says that there is none any more."""
    # Of an action that nobody has, admin-ajax.php says 400.
    absent = ("400", "404", "410") if "admin-ajax.php" in address.url else ("404", "410")
    return ("agent" not in error.metadata and error.metadata.get("status") in absent) or error.reason is Reason.AGENT_EXPIRED


def _signed_out() -> SiteError:
    """The session ended right after it began. WordPress keeps all sessions of an account in one row and reads, changes and
    writes it without a lock (WP_User_Meta_Session_Tokens), so sign-ins at the same moment end each other's."""
    sentence = "WordPress signs the account in and out again; use it less at the same time, or check the site's security plugins."
    return SiteError(Reason.LOGIN_TRY_LATER, sentence)


class _Admin:
    """A signed-in administrator."""

    def __init__(self, session: SiteSession, login: AdminLogin) -> None:
        self._session, self._login = session, login
        self._site = URL()
        self._logout: URL | None = None
        self._seen: list[str] = []
        self._upload_page = Document()
        self._activation: URL | None = None
        self.has_kept_upload = False

    async def sign_in(self, base: URL) -> None:
        """Find the login form, fill it in and check that a session came of it."""
        page, document = await self._login_page(base)
        for _ in range(2):
            form = document.form("loginform")
            if form is None:
                raise SiteError(Reason.LOGIN_HIDDEN)
            page, document = await self._submit(page, form)
            if not self._signed_in():
                if "reauth=1" in page.url.query_string and not document.texts.get("login_error"):
                    continue  # signed in, and asked again by a security plugin at once
                raise refused_sign_in(page, document)
            page, document = await self._open(_UPLOAD_PAGE)
            if document.form("loginform") is None:
                self._upload_page = document
                return
        raise _signed_out()

    async def _login_page(self, base: URL) -> tuple[Page, Document]:
        """The page with the login form; also for a WordPress that lives in a directory below its home page."""
        page = await self._session.fetch("GET", base.join(URL("wp-login.php")))
        refuse_broken(page)
        document = parsed(page.text)
        if document.form("loginform") is None:
            page, document = await self._login_elsewhere(base, page)
        self._site = page.url.join(URL("."))
        return page, document

    async def _login_elsewhere(self, base: URL, tried: Page) -> tuple[Page, Document]:
        home = await self._session.fetch("GET", base)
        refuse_broken(home)
        if not looks_like_wordpress(home):
            raise SiteError(Reason.NOT_WORDPRESS, host=base.host or "")
        # The address for remote editors (EditURI) is below WordPress's own directory, whatever the home page's is.
        for rel, address in parsed(home.text).links:
            if rel == "EditURI":
                page = await self._session.fetch("GET", same_host(base, address).join(URL("wp-login.php")))
                document = parsed(page.text)
                if document.form("loginform") is not None:
                    return page, document
        if tried.status in (403, 406):
            raise SiteError(Reason.SOURCE_WAF, host=base.host or "", status=str(tried.status))
        raise SiteError(Reason.LOGIN_HIDDEN)

    async def _submit(self, page: Page, form: Form) -> tuple[Page, Document]:
        """Send the login form; the page it leads to."""
        target = same_host(self._site, str(page.url.join(URL(form.action)))) if form.action else page.url
        filled = {
            **form.fields,
            "log": self._login.username,
            "pwd": self._login.password,
            "testcookie": "1",
            "redirect_to": str(self._site.join(URL(_UPLOAD_PAGE))),
        }
        answer = await self._session.fetch("POST", target, data=filled, headers={"Referer": str(page.url)})
        refuse_broken(answer)
        return answer, parsed(answer.text)

    def _signed_in(self) -> bool:
        return any(name.startswith("wordpress_logged_in_") for name in self._session.cookies(self._site))

    async def _open(self, path: str) -> tuple[Page, Document]:
        """A page of wp-admin; remembers how to sign out."""
        page = await self._session.fetch("GET", self._site.join(URL(path)))
        refuse_broken(page)
        self._remember(page)
        return page, parsed(page.text)

    def _remember(self, page: Page) -> None:
        text = html.unescape(page.text).replace("\\/", "/")
        found = _LOGOUT.search(text)
        if found:
            self._logout = self._site.join(URL(f"wp-login.php?action=logout&_wpnonce={found[1]}"))
        self._seen += [f"{match[1]}plugins/" for match in _CONTENT.finditer(text)]

    async def upload(self, folder: str, package: bytes) -> None:
        """Upload the plugin through the form of plugin-install.php; raises SiteError for each way WordPress can refuse."""
        form = self._upload_page.form("wp-upload-form")
        if form is None or "_wpnonce" not in form.fields:
            raise await self._why_no_upload()
        data = aiohttp.FormData(quote_fields=False)
        for name, value in form.fields.items():
            data.add_field(name, value)
        data.add_field("pluginzip", package, filename=f"{folder}.zip", content_type="application/zip")
        target = same_host(self._site, str(self._site.join(URL("wp-admin/")).join(URL(form.action))))
        page = await self._session.fetch("POST", target, data=data, headers={"Referer": str(self._site.join(URL(_UPLOAD_PAGE)))})
        refuse_broken(page)
        self._remember(page)
        document = parsed(page.text)
        if any("connection_type" in form.names or "hostname" in form.names for form in document.forms):
            raise SiteError(Reason.FILESYSTEM_NOT_DIRECT)
        if document.form("loginform") is not None:
            raise _signed_out()
        if page.status in (403, 413) or document.texts.get("error-page"):
            raise SiteError(Reason.UPLOAD_REFUSED, status=str(page.status))
        self.has_kept_upload = any("action=activate" in address or _OVERWRITE in address for _, address in document.links)
        links = [address for _, address in document.links if "action=activate" in address]
        self._activation = same_host(self._site, str(self._site.join(URL("wp-admin/")).join(URL(links[0])))) if links else None
        await self._cancel_overwrite(document)

    async def _cancel_overwrite(self, document: Document) -> None:
        """An upload over an existing folder waits for an answer: say no, so that WordPress deletes what it kept of it."""
        for _, address in document.links:
            if _OVERWRITE in address:
                await self._session.fetch("GET", same_host(self._site, str(self._site.join(URL("wp-admin/")).join(URL(address)))))

    async def _why_no_upload(self) -> SiteError:
        """No upload form: is it the site that forbids it or the account that may not?"""
        if "multisite" in self._upload_page.body_class.split() or any(
            "wp-admin/network/" in address for _, address in self._upload_page.links
        ):
            return SiteError(Reason.MULTISITE_UNSUPPORTED)
        _, settings = await self._open("wp-admin/options-general.php")
        if any("blogname" in form.names for form in settings.forms):
            return SiteError(Reason.FILE_MODS_DISABLED)
        return SiteError(Reason.LOGIN_LACKS_CAPABILITY)

    async def look_at(self, home: URL) -> None:
        """See where the site's own page loads its theme from: the plugins are beside it, wherever the content is."""
        with suppress(SiteError):
            self._remember(await self._session.fetch("GET", home))

    def plugin_addresses(self) -> list[URL]:
        """Where the plugins directory may answer: its usual place, and beside whatever pages load plugins and themes from."""
        usual = self._site.join(URL("wp-content/plugins/"))
        found = [usual]
        for address in dict.fromkeys(self._seen):
            with suppress(SiteError, ValueError):
                found.append(same_host(self._site, address))
        return list(dict.fromkeys(found))[:6]

    @property
    def site(self) -> URL:
        """Where WordPress itself is."""
        return self._site

    async def activate(self, folder: str) -> None:
        """Activate the uploaded plugin over REST, or by the link the upload's page showed; whether it answers then is for the
        caller to see."""
        with suppress(SiteError):
            done = await self._plugin(folder, {"status": "active"})
            if done.status == 200 or self._activation is None:
                return
        if self._activation is not None:
            with suppress(SiteError):
                await self._session.fetch("GET", self._activation)

    async def delete_plugin(self, folder: str) -> None:
        """Delete an uploaded plugin that does not answer, over WordPress's REST API (wp/v2/plugins)."""
        with suppress(SiteError):
            await self._plugin(folder, {"status": "inactive"})
            await self._plugin(folder, {"_method": "DELETE"})  # the verb itself is refused by some firewalls

    async def _plugin(self, folder: str, change: dict[str, str]) -> Page:
        nonce = await self._session.fetch("GET", self._site.join(URL("wp-admin/admin-ajax.php?action=rest-nonce")))
        route = {"rest_route": f"/wp/v2/plugins/{folder}/{folder}"}
        return await self._session.fetch(
            "POST",
            self._site.join(URL("index.php")).with_query(route | {k: v for k, v in change.items() if k.startswith("_")}),
            data={k: v for k, v in change.items() if not k.startswith("_")},
            headers={"X-WP-Nonce": nonce.text.strip()},
        )

    async def sign_out(self) -> None:
        """End the session at the site; a site that does not answer any more ends it by itself after two days."""
        if not self._signed_in():
            return
        with suppress(SiteError):
            if self._logout is None:
                # Asked without a nonce, WordPress shows the link that has one.
                sure = await self._session.fetch(
                    "GET", self._site.join(URL("wp-login.php?action=logout")), seconds=_SIGN_OUT_SECONDS
                )
                self._remember(sure)
            if self._logout is not None:
                await self._session.fetch("GET", self._logout, seconds=_SIGN_OUT_SECONDS)
