"""Which of a source's own constants may pass into its clone's wp-config, and why the others may not.

A constant is withheld when it says who or where the site is, when it belongs to a cache or a cookie, or when it looks like
a credential, by its name or by its value. Sources: wp-includes/default-constants.php, ms-default-constants.php and
wp-config-sample.php of WordPress 6; the habits of hosts and plugins listed in WP STAGING's constants task.
"""

from __future__ import annotations

import re
from enum import StrEnum

from wpclone.wordpress.php import PhpValue

SALTS = (
    "AUTH_KEY",
    "SECURE_AUTH_KEY",
    "LOGGED_IN_KEY",
    "NONCE_KEY",
    "AUTH_SALT",
    "SECURE_AUTH_SALT",
    "LOGGED_IN_SALT",
    "NONCE_SALT",
)

OURS = frozenset(SALTS) | {
    "ABSPATH", "DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_CHARSET", "DB_COLLATE", "WP_HOME", "WP_SITEURL",
    "DISABLE_WP_CRON", "WP_ENVIRONMENT_TYPE", "DISALLOW_FILE_MODS", "AUTOMATIC_UPDATER_DISABLED",
}  # fmt: skip
"""Constants a clone's wp-config sets itself; nothing passes them from the source."""


class Withheld(StrEnum):
    """Why a constant was left out, in the words of the report."""

    SET_BY_CLONE = "the clone has its own"
    IDENTITY = "says who or where the source is"
    PATH = "is a path on the source"
    CACHE = "belongs to a cache"
    COOKIE = "belongs to the source's cookies"
    CREDENTIAL = "looks like a credential"
    NOT_A_NAME = "is not a constant's name"
    NO_LITERAL = "has a value that cannot be written down"


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_RESERVED = {"true", "false", "null", "__compiler_halt_offset__"}

_IDENTITY = re.compile(
    r"(MULTISITE|WP_ALLOW_MULTISITE|SUBDOMAIN_INSTALL|DOMAIN_CURRENT_SITE|PATH_CURRENT_SITE|SITE_ID_CURRENT_SITE|BLOG_ID_CURRENT_SITE"
    r"|BLOGID_.*|SUNRISE|VHOST|NOBLOGREDIRECT|DOMAIN_MAPPING|RELOCATE|CUSTOM_USER(_META)?_TABLE|ALTERNATE_WP_CRON|WP_CRON_.*"
    r"|FORCE_SSL.*|WP_INSTALLING.*|WP_SETUP_CONFIG|WP_PROXY_.*|WPCLONE_.*|.*_URL|.*_URI|.*_DOMAIN|.*_HOST|.*_HOSTNAME|.*_SITE_?ID)"
)
_PATH = re.compile(r".*(_DIR|_PATH|_ROOT|_FILE|_BASEDIR)|UPLOADS|ERRORLOGFILE|WP_TEMP_DIR|FTP_(BASE|CONTENT_DIR|PLUGIN_DIR)")
_CACHE = re.compile(
    r"WP_CACHE.*|WPCACHE.*|.*_CACHE|.*CACHE_.*|WP_REDIS.*|.*REDIS.*|.*MEMCACHED?.*|WPSC_.*|W3TC_.*|WP_ROCKET_.*|VARNISH.*|LSCWP_.*|.*_CDN.*|CDN_.*"
)
_COOKIE = re.compile(r".*COOKIE.*|.*_SESSION_NAME")
_CREDENTIAL = re.compile(
    r".*(KEY|SECRET|TOKEN|PASS|PWD|LICEN[CS]E|CREDENTIAL|SALT|NONCE|AUTH|DSN|WEBHOOK|OAUTH|CLIENT_?ID|SIGNATURE|CERT|PRIVATE"
    r"|SMTP|MAILGUN|SENDGRID|POSTMARK|STRIPE|PAYPAL|BRAINTREE|TWILIO|MAILCHIMP|KLAVIYO).*"
    r"|.*(^|_)(API|PW|PIN|USER|USERNAME)(_.*|$)|(DB|SLAVE_DB|READ_DB|HYPERDB)_.*"
    r"|(AWS|AS3CF|DBI|S3|S3_UPLOADS|GCS|GOOGLE|AZURE|DO_SPACES|B2|R2|WASABI|MINIO|WPOSES|ILAB|BACKBLAZE|CLOUDINARY|WP_STATELESS|FTP|SSH)_.*"
)
_CREDENTIAL_VALUE = re.compile(
    rb"(sk|pk|rk|whsec)_(live|test)_|AKIA[0-9A-Z]{12}|-----BEGIN |eyJ[A-Za-z0-9_-]{10,}\.|gh[pousr]_[A-Za-z0-9]{20}|xox[abprs]-"
    rb"|SG\.[\w-]{16}|AIza[\w-]{20}|://[^/\s:@]*:[^/\s@]+@|\A[0-9a-fA-F]{32,}\Z|\A(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/_=-]{24,}\Z"
)
_HARMLESS = frozenset({"COMPRESS_CSS", "WP_POST_REVISIONS", "DISALLOW_FILE_EDIT", "FS_METHOD", "WP_DEFAULT_THEME"})


def judge(name: str, value: PhpValue, *, keep: bool = False) -> Withheld | None:
    """Why the constant may not pass, or None when it may. `keep` passes all but names the clone sets itself."""
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        return Withheld.NOT_A_NAME
    upper = name.upper()
    if upper in OURS:
        return Withheld.SET_BY_CLONE
    if keep or upper in _HARMLESS:
        return None
    return _by_name(upper) or _by_value(value)


def _by_name(upper: str) -> Withheld | None:
    # The credential comes first: a report that says "path" for S3_SECRET_KEY_FILE would play it down.
    for pattern, reason in (
        (_CREDENTIAL, Withheld.CREDENTIAL),
        (_COOKIE, Withheld.COOKIE),
        (_CACHE, Withheld.CACHE),
        (_IDENTITY, Withheld.IDENTITY),
        (_PATH, Withheld.PATH),
    ):
        if pattern.fullmatch(upper):
            return reason
    return None


def _by_value(value: PhpValue) -> Withheld | None:
    for text in _texts(value):
        if _CREDENTIAL_VALUE.search(text):
            return Withheld.CREDENTIAL
        if re.match(rb"/[\w.-]+/|[A-Za-z]:[\\/]|\\\\", text):
            return Withheld.PATH
        if re.match(rb"(https?:)?//", text, re.IGNORECASE):
            return Withheld.IDENTITY
    return None


def _texts(value: PhpValue) -> list[bytes]:
    """Every string within a value, keys included."""
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, str):
        return [value.encode("utf-8", "surrogateescape")]
    if value is None or isinstance(value, bool | int | float):
        return []
    if hasattr(value, "items"):
        return [text for key, item in value.items() for part in (key, item) for text in _texts(part)]
    return [text for item in value for text in _texts(item)]
