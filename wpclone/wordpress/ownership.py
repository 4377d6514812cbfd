"""Which tables of a database belong to one WordPress: decided by sets of core tables, never by LIKE.

`_` is a wildcard in LIKE, prefixes may be empty, may start another site's prefix (`wp_` and `wp_2_`), and tables of other
programs share databases. A table belongs to the installation with the longest prefix that fits it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: The tables every single-site WordPress has since 4.4 (wp-admin/includes/schema.php); users may be elsewhere.
CORE = (
    b"options",
    b"posts",
    b"postmeta",
    b"comments",
    b"commentmeta",
    b"terms",
    b"termmeta",
    b"term_taxonomy",
    b"term_relationships",
)
USERS = (b"users", b"usermeta")
# Staged, kept and control tables of a restore lie in its target's database, a clone's list of what was left (left_places) in the
# clone's; they are no part of the site.
_OURS = re.compile(rb"wpc[ro][0-9a-f]{6}_[a-z0-9]+|wpclone_left")
_SURE = (b"options", b"posts", b"postmeta", b"comments", b"terms", b"term_taxonomy")


def installations(tables: Iterable[bytes]) -> set[bytes]:
    """The prefixes of every WordPress in the database: those that all the sure tables exist for."""
    names = set(tables)
    prefixes = {name[: -len(b"options")] for name in names if name.endswith(b"options")}
    return {prefix for prefix in prefixes if all(prefix + table in names for table in _SURE)}


def as_configured(names: Iterable[bytes], prefix: bytes) -> dict[bytes, bytes]:
    """The tables of a server that ignores the case of names (lower_case_table_names), by the names its WordPress uses for them.

    A copy's server minds the case, and a prefix is more than a part of tables' names: rights are stored under it too.
    """
    found = {}
    for name in names:
        has_prefix = name.lower().startswith(prefix.lower())
        found[prefix + name[len(prefix) :] if has_prefix else name] = name
    return found


def own_tables(tables: Iterable[bytes], prefix: bytes, *, shared: Iterable[bytes] = ()) -> set[bytes]:
    """The tables of the installation `prefix`; `shared` are further ones its configuration names (CUSTOM_USER_TABLE)."""
    names = {name for name in tables if not _OURS.fullmatch(name)}
    others = {other for other in installations(names) if other != prefix and other.startswith(prefix)}
    mine = {name for name in names if name.startswith(prefix) and not any(name.startswith(other) for other in others)}
    return mine | (set(shared) & names)
