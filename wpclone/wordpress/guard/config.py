"""The guard's configuration of one clone, as the JSON file that guard.php reads.

The generated password is there only as a salted PBKDF2-HMAC-SHA256 hash; the key is there as it is, because the guard
must check signatures with it. The file is the clone's secret: 0640, root's and the clone's group's.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

ROUNDS = 20_000
"""The password is random and long; the rounds only keep a copied file from being worth a quick look."""

INACTIVE_PLUGINS = (
    # hidden or locked sign-in
    "wps-hide-login", "hide-login-page", "rename-wp-login", "change-wp-admin-login", "wp-hide-security-enhancer", "hide-my-wp",
    "all-in-one-wp-security-and-firewall", "better-wp-security", "ithemes-security-pro", "solid-security-pro", "wordfence",
    "wordfence-login-security", "sg-security", "wp-spamshield", "limit-login-attempts-reloaded", "loginizer", "wp-cerber",
    "defender-security", "wp-defender", "shield-security", "wp-simple-firewall", "login-lockdown", "wp-limit-login-attempts",
    "sucuri-scanner", "ninjafirewall", "bulletproof-security", "secupress", "security-malware-firewall",
    # second factors and captchas bound to the source's address
    "two-factor", "two-factor-authentication", "two-factor-2fa-via-email", "wp-2fa", "google-authenticator",
    "miniorange-2-factor-authentication",
    "duo-wordpress", "advanced-google-recaptcha", "login-recaptcha", "google-captcha", "simple-cloudflare-turnstile",
    "hcaptcha-for-forms-and-more",
    # single sign-on that sends the visitor to the source
    "miniorange-saml-20-single-sign-on", "wp-saml-auth", "auth0", "daggerhart-openid-connect-generic", "force-login",
    "wp-force-login",
)  # fmt: skip
"""Directories of plugins that would keep the clone's owner out."""

HTTPS_PLUGINS = (
    "really-simple-ssl",
    "wp-force-ssl",
    "wp-encryption",
    "ssl-zen",
    "easy-https-redirection",
    "one-click-ssl",
    "ssl-insecure-content-fixer",
)
"""Directories of plugins that would send a clone served over plain HTTP to an https address that is not there."""


@dataclass(frozen=True)
class GuardSettings:
    """One clone as its guard must know it.

    `expires_at` is aware; `salt` is at least 16 and `key` at least 32 random bytes; `state_dir` is a directory the clone's
    PHP may write; `allow_hosts` are host names, or `host:port`, that WordPress may reach. `source_path` is the directory of its
    host that the source is in, empty or like `/blog`.
    """

    clone_id: str
    url: str
    expires_at: datetime
    admin_login: str
    password: str = field(repr=False)
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)
    state_dir: str
    allow_hosts: Sequence[str] = ()
    also_inactive: Sequence[str] = ()
    source_path: str = ""


def guard_config(settings: GuardSettings) -> bytes:
    """`config.json`. Raises ValueError for a naive time, a short key or a short salt."""
    if settings.expires_at.tzinfo is None:
        raise ValueError("expires_at must carry a time zone")
    if len(settings.key) < 32 or len(settings.salt) < 16:
        raise ValueError("the key needs at least 32 random bytes, the salt 16")
    inactive = INACTIVE_PLUGINS + (() if settings.url.startswith("https:") else HTTPS_PLUGINS) + tuple(settings.also_inactive)
    text = json.dumps(
        {
            "clone_id": settings.clone_id,
            "url": settings.url,
            "expires_at": settings.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "admin_login": settings.admin_login,
            "password_hash": password_hash(settings.password, settings.salt),
            "key": base64.b64encode(settings.key).decode(),
            "allow_hosts": [host.lower() for host in settings.allow_hosts],
            "inactive_plugins": list(inactive),
            "state_dir": settings.state_dir,
            "source_path": settings.source_path,
        },
        indent=1,
    )
    return text.encode()


def password_hash(password: str, salt: bytes) -> str:
    """`pbkdf2-sha256$<rounds>$<salt>$<hash>`, base64 both, as mu-plugin.php checks it."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    return f"pbkdf2-sha256${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
