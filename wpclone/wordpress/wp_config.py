"""A clone's wp-config.php, generated: never the source's file, never its code.

It holds the clone's own database, prefix, salts and URL, the switches that keep a copy quiet, and those of the source's
constants that `wpclone.wordpress.constants` lets pass. What was withheld is reported by name and reason, never by value.
Layout source: wp-config-sample.php of WordPress 6.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wpclone.wordpress.constants import SALTS, Withheld, judge
from wpclone.wordpress.php import PhpValue, php_literal

_MOVABLE = frozenset(
    {
        "WP_CONTENT_DIR",
        "WP_PLUGIN_DIR",
        "PLUGINDIR",
        "WPMU_PLUGIN_DIR",
        "MUPLUGINDIR",
        "WP_CONTENT_URL",
        "WP_PLUGIN_URL",
        "WPMU_PLUGIN_URL",
        "UPLOADS",
    }
)
"""Where a site keeps its content: they pass when they lie within the site, and move with it."""


@dataclass(frozen=True)
class DatabaseLogin:
    """How a clone signs in to its database. `host` is an address, `port` a TCP port."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    charset: str = "utf8mb4"
    collate: str = ""


@dataclass(frozen=True)
class Move:
    """From where to where the site goes: root directories and root URLs, so that content directories can follow."""

    old_path: str
    new_path: str
    old_url: str
    new_url: str


@dataclass(frozen=True)
class WpConfig:
    """Everything a clone's wp-config says. `random` seeds the salts: at least 32 bytes, fresh for each clone."""

    database: DatabaseLogin
    prefix: str
    home: str
    site_url: str
    random: bytes = field(repr=False)
    constants: Mapping[str, PhpValue] = field(default_factory=dict)
    keep_constants: Collection[str] = ()
    move: Move | None = None


@dataclass(frozen=True)
class WithheldReport:
    """The names of the source's constants: those that passed, and those that did not with the reason. No values."""

    passed: tuple[str, ...]
    withheld: Mapping[str, Withheld]


def generate_wp_config(config: WpConfig) -> tuple[bytes, WithheldReport]:
    """The file and the report. The same `config` gives the same bytes. Raises ValueError for too little randomness."""
    if len(config.random) < 32:
        raise ValueError("salts need at least 32 random bytes")
    lines = [b"<?php", b"// Generated for this clone by wpclone. The source's own file was not copied.", b""]
    lines += [_define(name, value) for name, value in _own(config).items()]
    passed, withheld, defines = _pass_on(config)
    if defines:
        lines += [b"", b"// Constants of the source that may pass.", *defines]
    lines += [
        b"",
        b"$table_prefix = " + php_literal(config.prefix) + b";",
        b"",
        b"defined('ABSPATH') || define('ABSPATH', __DIR__ . '/');",
        b"require_once ABSPATH . 'wp-settings.php';",
        b"",
    ]
    return b"\n".join(lines), WithheldReport(tuple(passed), withheld)


def _own(config: WpConfig) -> dict[str, PhpValue]:
    login = config.database
    return {
        "DB_NAME": login.name,
        "DB_USER": login.user,
        "DB_PASSWORD": login.password,
        "DB_HOST": f"{login.host}:{login.port}",
        "DB_CHARSET": login.charset,
        "DB_COLLATE": login.collate,
        **{name: _salt(config.random, name) for name in SALTS},
        "WP_HOME": config.home.rstrip("/"),
        "WP_SITEURL": config.site_url.rstrip("/"),
        "WP_ENVIRONMENT_TYPE": "staging",
        "DISALLOW_FILE_MODS": True,
        "AUTOMATIC_UPDATER_DISABLED": True,
        "DISABLE_WP_CRON": True,
    }


def _salt(random: bytes, name: str) -> str:
    """64 characters for one salt; HMAC keeps the eight independent of each other."""
    return base64.b64encode(hmac.digest(random, name.encode(), hashlib.sha384)).decode()


def _pass_on(config: WpConfig) -> tuple[list[str], dict[str, Withheld], list[bytes]]:
    passed: list[str] = []
    withheld: dict[str, Withheld] = {}
    defines: list[bytes] = []
    for name, value in config.constants.items():
        moved = _moved(name, value, config.move)
        reason = None if moved is not None else judge(name, value, keep=name in config.keep_constants)
        try:
            line = b"" if reason else _define(name, value if moved is None else moved)
        except (ValueError, TypeError):
            reason = Withheld.NO_LITERAL
        if reason:
            withheld[name] = reason
        else:
            passed.append(name)
            defines.append(line)
    return passed, withheld, defines


def _moved(name: str, value: PhpValue, move: Move | None) -> str | None:
    """A content directory's or URL's place in the clone, when the source had it within the site; else None."""
    if name not in _MOVABLE or not isinstance(value, str):
        return None
    if name in {"UPLOADS", "PLUGINDIR", "MUPLUGINDIR"}:
        return value if not value.startswith("/") and ".." not in value.split("/") and "://" not in value else None
    if move is None:
        return None
    old, new = (move.old_url, move.new_url) if name.endswith("_URL") else (move.old_path, move.new_path)
    old, new = old.rstrip("/"), new.rstrip("/")
    rest = value.removeprefix(old)
    if rest == value or not rest.startswith("/") or ".." in rest.split("/"):
        return None
    return new + rest


def _define(name: str, value: PhpValue) -> bytes:
    # Whoever comes first wins without a warning: the guard or a server's own auto_prepend_file may have defined it.
    quoted = php_literal(name)
    return b"defined(" + quoted + b") || define(" + quoted + b", " + php_literal(value) + b");"
