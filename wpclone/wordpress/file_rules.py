"""Which files of a site a clone does not get, each with the reason the report gives.

Paths are bytes relative to the docroot, as the copy lays them out (the content directory is `wp-content` there). Sources: the
drop-ins WordPress loads are listed in wp-admin/includes/plugin.php (`_get_dropins`), the
directories are those that migration tools skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wpclone.wordpress import excludes

#: Files in the content directory that WordPress runs before any plugin, most of them bound to a server of the source.
DROP_INS = (
    b"advanced-cache.php", b"db.php", b"db-error.php", b"install.php", b"maintenance.php", b"object-cache.php",
    b"php-error.php", b"fatal-error-handler.php", b"sunrise.php", b"blog-deleted.php", b"blog-inactive.php",
    b"blog-suspended.php",
)  # fmt: skip

_CONFIG = "the clone has its own configuration"
_SECRETS = "holds the source's secrets"
_HOST = "bound to the source's web server"
_CACHE = "a cache; the clone fills its own"
_BACKUP = "backups of the source"
_DEVELOPMENT = "development files that no page needs"

_FILES: dict[bytes, str] = {
    b".user.ini": _HOST,
    b"php.ini": _HOST,
    b"web.config": _HOST,
    b".maintenance": "the source was being updated",
    **{b"wp-content/" + name: "a drop-in; it runs before the guard and is bound to the source" for name in DROP_INS},
}
# Directories are left out on the source already, so that it never lists them.
_DIRECTORIES: dict[bytes, str] = {
    b"wp-content/cache": _CACHE,
    b"wp-content/et-cache": _CACHE,
    b"wp-content/litespeed": _CACHE,
    b"wp-content/uploads/cache": _CACHE,
    b"wp-content/wflogs": "a firewall's records",
    b"wp-content/upgrade": "files of an interrupted update",
    b"wp-content/upgrade-temp-backup": "files of an interrupted update",
    b"wp-content/updraft": _BACKUP,
    b"wp-content/ai1wm-backups": _BACKUP,
    b"wp-content/backups-dup-lite": _BACKUP,
    b"wp-content/backupwordpress": _BACKUP,
    b"wp-content/backup-db": _BACKUP,
    b"wp-content/uploads/backwpup": _BACKUP,
    b"wp-content/uploads/wp-staging": _BACKUP,
    b"wp-snapshots": _BACKUP,
    b".well-known/acme-challenge": "certificates are the source's",
    b".git": _DEVELOPMENT,
    b".svn": _DEVELOPMENT,
}
_NAMES: dict[bytes, str] = {
    b".user.ini": _HOST,
    b".env": _SECRETS,
    b"error_log": "the source's log",
    b"debug.log": "the source's log",
}
_SUFFIXES: dict[bytes, str] = {b".wpress": _BACKUP}


@dataclass(frozen=True)
class LeftOut:
    """Something of the source that the copy does not have, and why. `name` is a path or a table's name."""

    name: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """As a plain object."""
        return {"name": self.name, "reason": self.reason}


def shown(path: bytes) -> str:
    """A path for people: bytes that are not UTF-8 are escaped."""
    return path.decode("utf-8", "backslashreplace")


def directories_left_out() -> dict[bytes, str]:
    """Directories that no copy gets, with the reason."""
    return dict(_DIRECTORIES)


def file_left_out(path: bytes, extra: Sequence[str] = ()) -> str | None:
    """Why the file at `path` is not copied, or None. `extra` are the caller's own globs (see `excludes`)."""
    if path in _FILES:
        return _FILES[path]
    if path.startswith(b"wp-config") and b"/" not in path:
        return _CONFIG  # wp-config.php.bak and the like
    name = path.rpartition(b"/")[2]
    if name in _NAMES:
        return _NAMES[name]
    for suffix, reason in _SUFFIXES.items():
        if name.endswith(suffix):
            return reason
    return excludes.REASON if extra and excludes.path_glob(shown(path), extra) else None
