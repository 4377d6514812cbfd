"""What of the staged options and user data must be production's, and what is active: settled before the exchange."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

from wpclone.wordpress.agent.asked import Asked
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.file_rules import shown
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.preserve import ACTIVE_PLUGINS, CACHE_META, THEME_OPTIONS, activation, drops_option, keeps_option
from wpclone.wordpress.restore.target import RestoreTarget

# A person's sign-ins and passwords for programs at production; those made at a copy are nobody's business there.
_KEPT_USER_META = (b"session_tokens", b"_application_passwords", b"_new_email", b"default_password_nag")


@dataclass(frozen=True)
class OptionsSettled:
    """`kept`: options with production's value; `dropped`: caches removed; `missing_plugins`: active at the source, but without
    files."""

    kept: tuple[str, ...]
    dropped: int
    active_plugins: tuple[str, ...]
    missing_plugins: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return asdict(self)


async def settle_options(
    target: RestoreTarget, source_site: SiteReport, target_site: SiteReport, *, tables: Collection[str], preserve_plugins: bool,
    preserve_themes: bool, keep: Collection[bytes] = (), plugins_there: Collection[str] | None = None,
) -> OptionsSettled:  # fmt: skip
    """Make the staged options right. `tables`: the staged tables' names at the target; `keep`: further options that are
    production's; `plugins_there`: names below the plugin directory after the restore, None if unknown.

    `db_version` travels, because it tells of the tables that travel: WordPress upgrades them when it is older than its code.
    """
    prefix = target_site.table_prefix
    await _settle_meta(target, prefix, tables)
    active = activation(
        target_site.active_plugins, source_site.active_plugins, there=plugins_there, preserve_plugins=preserve_plugins
    )
    table = prefix + "options"
    if table not in tables:
        return OptionsSettled((), 0, target_site.active_plugins, ())
    live = await _names(target.agent, table.encode())
    staged = await _names(target.agent, target.staged_name(table))
    named = {*keep, *(name for name in {*live, *staged} if keeps_option(name, prefix.encode()))}
    if preserve_plugins:
        named.add(ACTIVE_PLUGINS)
    if preserve_themes:
        named.update(THEME_OPTIONS)
    dropped = [name for name in staged if drops_option(name) and name not in named]
    await target.remove(table, [(name,) for name in dropped], by=[b"option_name"])
    await target.carry(table, [(name,) for name in sorted(named)], by=[b"option_name"], omit=[b"option_id"])
    if not preserve_plugins:
        value = _serialized((*active.active, *target_site.active_agents))  # the way to the target may lead through them
        await target.put(table, [b"option_name", b"option_value", b"autoload"], [(ACTIVE_PLUGINS, value, b"yes")])
    kept = tuple(sorted(shown(name) for name in named if name in live or name in staged))
    return OptionsSettled(kept, len(dropped), active.active, active.missing)


async def _settle_meta(target: RestoreTarget, prefix: str, tables: Collection[str]) -> None:
    """Styles a page builder kept in post meta are made again; sign-ins are production's."""
    if prefix + "postmeta" in tables:
        await target.remove(prefix + "postmeta", [(name,) for name in sorted(CACHE_META)], by=[b"meta_key"])
    if prefix + "usermeta" in tables:
        keys = [(name,) for name in _KEPT_USER_META]
        await target.carry(prefix + "usermeta", keys, by=[b"meta_key"], omit=[b"umeta_id"])


async def _names(agent: AgentClient, table: bytes) -> set[bytes]:
    """All option names of one options table."""
    columns = ((b"option_id", "plain"), (b"option_name", "plain"))
    asked = Asked(table, columns, ((b"option_id", "int"),), (0,))
    found = set[bytes]()
    async with aclosing(agent.rows([asked])) as stream:
        async for frame, _ in stream:
            found.update(value for value in frame.values[1::2] if value is not None)
    return found


def _serialized(plugins: Sequence[str]) -> bytes:
    """A list of strings as PHP serializes it."""
    made = b"".join(b'i:%d;s:%d:"%s";' % (number, len(name.encode()), name.encode()) for number, name in enumerate(plugins))
    return b"a:%d:{%s}" % (len(plugins), made)
