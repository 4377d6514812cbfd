"""What stands between us and a wp-admin, told apart by the pages it shows."""

from __future__ import annotations

import re

from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.html_forms import Document
from wpclone.wordpress.session import Page

# Field names and words of the usual second factors: Two Factor, Wordfence, WP 2FA, iThemes/Solid Security, miniOrange, Google
# Authenticator.
_SECOND_FACTOR = re.compile(
    r"authcode|two[-_ ]?factor|wp[-_]2fa|\b2fa\b|wfls|mfa|googleotp|\botp\b|totp|one[-_ ]time|itsec[-_]two|mo2f"
    r"|verification code",
    re.IGNORECASE,
)
_CAPTCHA = re.compile(
    r"g-recaptcha|h-captcha|cf-turnstile|recaptcha/api|captcha_code|siteground-captcha|aiowps-captcha", re.IGNORECASE
)
_LOCKED_OUT = re.compile(r"too many|locked|lockout|attempts|try again in|temporarily|blocked", re.IGNORECASE)
_FIREWALL = re.compile(
    r"cloudflare|cf-error|challenge-platform|sucuri|wordfence|incapsula|imperva|mod_security|not acceptable|ddos|access denied|"
    r"bot verification|imunify360|siteground",
    re.IGNORECASE,
)
_WORDPRESS = re.compile(r"/wp-content/|/wp-includes/|api\.w\.org|content=[\"']WordPress", re.IGNORECASE)


def looks_like_wordpress(page: Page) -> bool:
    """Whether a home page names WordPress's own paths."""
    return "api.w.org" in page.headers.get("Link", "") or bool(_WORDPRESS.search(page.text))


def refuse_broken(page: Page) -> None:
    """Raise SiteError for a page that is a server's or a firewall's, whatever was asked for."""
    host, status = page.url.host or "", str(page.status)
    if page.status == 401 and "WWW-Authenticate" in page.headers:
        raise SiteError(Reason.SOURCE_BASIC_AUTH, host=host)
    if page.status in (408, 425, 429, 503) and not _FIREWALL.search(page.text):
        pause = page.headers.get("Retry-After", "")
        raise SiteError(Reason.SOURCE_BUSY, retry_after=float(pause) if pause.isdigit() else None, host=host, status=status)
    if page.status >= 500 and "database connection" in page.text:
        raise SiteError(Reason.SOURCE_DATABASE_DOWN, host=host, status=status)
    if page.status in (403, 406, 415, 418, 429, 503) and _FIREWALL.search(page.text):
        raise SiteError(Reason.SOURCE_WAF, host=host, status=status)
    if page.status >= 500:
        raise SiteError(Reason.SOURCE_BROKEN, host=host, status=status)


def refused_sign_in(page: Page, document: Document) -> SiteError:
    """Why a sign-in left no session."""
    said = " ".join(document.texts.get(name, "") for name in ("login_error", "message"))
    fields = " ".join(name for form in document.forms for name in form.names)
    labels = " ".join(form.labels for form in document.forms)
    if _LOCKED_OUT.search(said):
        return SiteError(Reason.LOGIN_TRY_LATER, retry_after=300.0)
    if _CAPTCHA.search(page.text):
        return SiteError(Reason.LOGIN_CAPTCHA)
    if _SECOND_FACTOR.search(f"{fields} {labels} {page.url.query_string}") or (
        _SECOND_FACTOR.search(said) and "pwd" not in fields.split()
    ):
        return SiteError(Reason.LOGIN_TWO_FACTOR)
    if document.texts.get("login_error") or document.form("loginform") is not None:
        return SiteError(Reason.LOGIN_REFUSED)
    if page.status in (403, 406):
        return SiteError(Reason.SOURCE_WAF, status=str(page.status))
    return SiteError(Reason.LOGIN_HIDDEN)
