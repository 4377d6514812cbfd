"""How WordPress's own tables are merged, where a row's primary key does not tell all.

Source: wp-admin/includes/schema.php. Rows of the meta tables have numbers that nothing refers to; an option is known by its
name; counts follow from other rows; a child row is worth nothing without its parent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One table's rule.

    `key`: what a row is known by, instead of the primary key. `derived`: columns that follow from other tables, in which a
    difference is no change. `renumbers`: two rows that got the same number on both sides are two rows. `parent`: (column, table)
    it belongs to. `topic`: with `parent`, what the row says something about. `has_types`: rows are owned by kind (posts).
    """

    key: tuple[str, ...] = ()
    number: str = ""
    derived: tuple[str, ...] = ()
    renumbers: bool = False
    parent: tuple[str, str] | None = None
    topic: str = ""
    has_types: bool = False


def _meta(column: str, parent: str, number: str = "meta_id") -> Rule:
    return Rule(number=number, renumbers=True, parent=(column, parent), topic="meta_key")


RULES: dict[str, Rule] = {
    "options": Rule(key=("option_name",), number="option_id"),
    "posts": Rule(derived=("comment_count",), has_types=True),
    "postmeta": _meta("post_id", "posts"),
    "term_relationships": Rule(parent=("object_id", "posts")),
    "term_taxonomy": Rule(derived=("count",), parent=("term_id", "terms")),
    "termmeta": _meta("term_id", "terms"),
    "commentmeta": _meta("comment_id", "comments"),
    "usermeta": _meta("user_id", "users", number="umeta_id"),
}
"""By the table's name without the site's prefix."""

PLAIN = Rule()

NOISE = ("_edit_lock", "_edit_last")
"""Meta keys that WordPress writes whenever somebody opens an editor: never a conflict worth telling."""


def rule_of(name: str) -> Rule:
    """The rule of the table with this name, prefix removed."""
    return RULES.get(name, PLAIN)


def in_order(names: list[str]) -> list[str]:
    """Table names without prefix, parents before their children."""
    return sorted(names, key=lambda name: (rule_of(name).parent is not None, name))
