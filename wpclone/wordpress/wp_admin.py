"""A signed-in wp-admin, driven as a browser would: find the login page, sign in, upload a plugin, sign out.

Sources: wp-login.php (test cookie, error codes), wp-admin/update.php (`upload-plugin`), wp-admin/includes/file.php (the form that
asks for FTP), admin-ajax.php (`rest-nonce`). plugins.php is never opened: some security plugins demand a new sign-in there.
"""

from __future__ import annotations

import html
import re

import aiohttp
from yarl import URL

from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import Page, SiteSession

_FORM = re.compile(r"""name=["']log["']""")
_NONCE = re.compile(r"""name=["']_wpnonce["'][^>]*value=["']([0-9a-f]+)["']""")
_SIGN_OUT = re.compile(r"""wp-login\.php\?action=logout&(?:amp;|#038;)?_wpnonce=([0-9a-f]+)""")
_RSD = re.compile(r"""href=["']([^"']+)/xmlrpc\.php\?rsd["']""")
_WORDPRESS = re.compile(r"wp-content/|wp-includes/|api\.w\.org|xmlrpc\.php\?rsd")
# Field names of second factors: Two-Factor, Wordfence, Google Authenticator, Solid Security, WP 2FA, miniOrange, Duo.
_SECOND_FACTOR = re.compile(
    r"""name=["'](?:authcode|two-factor-[a-z-]+|wp-auth-id|wfls-token|googleotp|itsec_two_factor|wp-2fa-[a-z-]+|mo2fa?_[a-z_]+"""
    r"""|sig_response|totp|otp|one_time_password)["']|action=["'][^"']*(?:validate_2fa|backup_2fa|itsec-2fa)""",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"too many|locked|lockout|limit_login|try again in", re.IGNORECASE)
_ASKS_FOR_FTP = re.compile(r"""request-filesystem-credentials-form|name=["']connection_type["']""")
_PACKAGE = re.compile(r"[?&;]package=(\d+)")
_FIREWALLS = {"cf-ray", "x-sucuri-id", "x-iinfo"}
_FORBIDDEN, _UNAUTHORIZED, _BUSY = 403, 401, {429, 503}


class WpAdmin:
    """One administrator's visit to one site. `base` is the WordPress address (`siteurl`), found by `find`."""

    def __init__(self, session: SiteSession, base: URL) -> None:
        self._session = session
        self.base = base
        self._last = ""

    @classmethod
    async def find(cls, session: SiteSession, url: str) -> WpAdmin:
        """The WordPress behind `url`, which may be its home in another directory. Raises SiteError with what is in the way."""
        base = URL(url if url.endswith("/") else url + "/")
        page = await session.fetch("GET", base / "wp-login.php")
        if _FORM.search(page.text):
            return cls(session, page.url.parent / "")
        _refuse_walls(page)
        home = await session.fetch("GET", base)
        _refuse_walls(home)
        elsewhere = _RSD.search(home.text)
        if elsewhere and (address := URL(html.unescape(elsewhere[1]) + "/")) != base and address.host == home.url.host:
            page = await session.fetch("GET", address / "wp-login.php")
            if _FORM.search(page.text):
                return cls(session, page.url.parent / "")
        if not _WORDPRESS.search(home.text):
            raise SiteError(Reason.NOT_WORDPRESS, host=base.host or "")
        raise SiteError(Reason.LOGIN_HIDDEN, host=base.host or "")

    async def sign_in(self, username: str, password: str) -> None:
        """Raises SiteError: LOGIN_REFUSED, LOGIN_TWO_FACTOR, LOGIN_TRY_LATER, LOGIN_HIDDEN, SOURCE_WAF."""
        form = {
            "log": username,
            "pwd": password,
            "wp-submit": "Log In",
            "redirect_to": str(self.base / "wp-admin/plugin-install.php" % {"tab": "upload"}),
            "testcookie": "1",
        }
        page = await self._session.fetch("POST", self.base / "wp-login.php", data=form)
        self._last = page.text
        if _SECOND_FACTOR.search(page.text) and "wpadminbar" not in page.text:
            raise SiteError(Reason.LOGIN_TWO_FACTOR)
        if "wp-login.php" in page.url.path and "confirm_admin_email" not in page.url.query_string:
            if _TOO_MANY.search(_error_box(page.text)):
                raise SiteError(Reason.LOGIN_TRY_LATER)
            if "login_error" in page.text or _FORM.search(page.text):
                raise SiteError(Reason.LOGIN_REFUSED)
            raise SiteError(Reason.LOGIN_HIDDEN, "The sign-in page behaves unlike WordPress's; switch off what changes it.")
        if page.status != _FORBIDDEN:
            _refuse_walls(page)

    async def upload_plugin(self, folder: str, archive: bytes) -> None:
        """Upload a plugin's zip, without activating it. An older upload of the same folder is left as it is.

        Raises SiteError: LOGIN_LACKS_CAPABILITY, FILE_MODS_DISABLED, FILESYSTEM_NOT_DIRECT, UPLOAD_REFUSED.
        """
        page = await self._session.fetch("GET", self.base / "wp-admin/plugin-install.php" % {"tab": "upload"})
        nonce = _upload_nonce(page.text)
        if nonce is None:
            await self._why_no_upload(page)
        self._last = page.text
        form = aiohttp.FormData()
        form.add_field("_wpnonce", nonce)
        form.add_field("_wp_http_referer", "/wp-admin/plugin-install.php?tab=upload")
        form.add_field("pluginzip", archive, filename=f"{folder}.zip", content_type="application/zip")
        form.add_field("install-plugin-submit", "Install Now")
        target = self.base / "wp-admin/update.php" % {"action": "upload-plugin"}
        answer = await self._session.fetch("POST", target, data=form, seconds=120)
        if _ASKS_FOR_FTP.search(answer.text) and "hostname" in answer.text:
            await self._discard_package(answer.text)
            raise SiteError(Reason.FILESYSTEM_NOT_DIRECT)
        if answer.status == _FORBIDDEN and _is_firewall(answer):
            raise SiteError(Reason.SOURCE_WAF)
        if answer.status >= 400:
            raise SiteError(Reason.UPLOAD_REFUSED, status=str(answer.status))

    async def delete_plugin(self, folder: str) -> bool:
        """Delete an uploaded plugin over the REST API; whether it is gone. For an agent that was uploaded but cannot answer."""
        return await self._rest_delete(f"/wp/v2/plugins/{folder}/{folder}")

    async def _discard_package(self, text: str) -> None:
        """Delete the uploaded zip that WordPress keeps as an attachment while it asks for FTP access."""
        kept = _PACKAGE.search(text)
        if kept is not None:
            await self._rest_delete(f"/wp/v2/media/{kept[1]}", force="true")

    async def _rest_delete(self, route: str, **query: str) -> bool:
        nonce = await self._session.fetch("GET", self.base / "wp-admin/admin-ajax.php" % {"action": "rest-nonce"})
        target = self.base % {"rest_route": route, **query}
        page = await self._session.fetch("DELETE", target, headers={"X-WP-Nonce": nonce.text.strip()})
        return page.status in (200, 404)

    async def sign_out(self) -> None:
        """End the session that `sign_in` began, if a page we saw offered that."""
        found = _SIGN_OUT.search(self._last)
        if found is None:
            page = await self._session.fetch("GET", self.base / "wp-admin/profile.php")
            found = _SIGN_OUT.search(page.text)
        if found is not None:
            await self._session.fetch("GET", self.base / "wp-login.php" % {"action": "logout", "_wpnonce": found[1]})

    async def _why_no_upload(self, page: Page) -> None:
        """Raises the SiteError that tells why the upload page has no form."""
        if "wp-login.php" in page.url.path:
            raise SiteError(Reason.LOGIN_HIDDEN, "WordPress forgot the sign-in at once; switch off what guards its sessions.")
        if _ASKS_FOR_FTP.search(page.text):
            raise SiteError(Reason.FILESYSTEM_NOT_DIRECT)
        if page.status not in (200, _FORBIDDEN) or _is_firewall(page):
            _refuse_walls(page)
        # The capability is the same for both reasons; only an administrator may open the general settings.
        settings = await self._session.fetch("GET", self.base / "wp-admin/options-general.php")
        is_administrator = settings.status == 200 and "options.php" in settings.text
        raise SiteError(Reason.FILE_MODS_DISABLED if is_administrator else Reason.LOGIN_LACKS_CAPABILITY)


def _upload_nonce(text: str) -> str | None:
    """The nonce of the upload form (wp-admin/includes/plugin-install.php, `install_plugins_upload`)."""
    start = text.find("action=upload-plugin")
    found = _NONCE.search(text, start) if start >= 0 else None
    return found[1] if found else None


def _error_box(text: str) -> str:
    start = text.find("login_error")
    return text[start : start + 2000] if start >= 0 else text


def _is_firewall(page: Page) -> bool:
    return any(header.lower() in _FIREWALLS for header in page.headers)


def _refuse_walls(page: Page) -> None:
    """Raise the SiteError of what stands between us and WordPress, told by the answer's status."""
    host = page.url.host or ""
    if page.status == _UNAUTHORIZED and "www-authenticate" in {name.lower() for name in page.headers}:
        raise SiteError(Reason.SOURCE_BASIC_AUTH, host=host)
    if page.status == _FORBIDDEN:
        raise SiteError(Reason.SOURCE_WAF, host=host)
    if page.status in _BUSY:
        raise SiteError(Reason.SOURCE_BUSY, host=host)
    if page.status >= 500:
        raise SiteError(Reason.SOURCE_BROKEN, host=host, status=str(page.status))
