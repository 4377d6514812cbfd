"""What a source site is, before anything is created: the report a preflight judges and later steps copy by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self

from wpclone.wordpress import excludes
from wpclone.wordpress.active_plugins import is_agent
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Damaged, Entry, decoded
from wpclone.wordpress.constants import Withheld, judge
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.excludes import Excluded, Excludes, Tally, path_glob, table_glob
from wpclone.wordpress.file_choice import why_not
from wpclone.wordpress.file_rules import DROP_INS, LeftOut, shown
from wpclone.wordpress.ownership import CORE, USERS, as_configured, own_tables
from wpclone.wordpress.roots import Root, roots_to_copy

NOTHING_EXCLUDED = Excludes()
MOST_LEFT_OUT = 200
"""Files left out that a report lists; it counts them all."""


@dataclass(frozen=True)
class TableReport:
    """A table of the site's own. `rows` is the server's estimate, `bytes` its data without indexes."""

    name: str
    rows: int
    bytes: int
    engine: str
    average: int


@dataclass(frozen=True)
class SiteReport:
    """What a source site is. Strings that are not UTF-8 at the source have their bytes escaped.

    `constants` are the source's, for the generated wp-config to judge; those that look like credentials have the value None
    there, or are only named in `withheld` (with the reason), so that a report can be kept where secrets may not. `excluded` says
    what the caller's globs left out; tables and files do not have it. `left_out_files` are the first of those that no copy gets.
    `active_agents` are those plugins that are agents, and so in no list of plugins.
    `client_charset`, `client_collation`: what WordPress talks to its database in (DB_CHARSET, DB_COLLATE); `db_charset` is the
    database's default.
    """

    home: str
    siteurl: str
    title: str
    abspath: str
    content_dir: str
    roots: tuple[Root, ...]
    table_prefix: str
    wp_version: str
    php_version: str
    db_version: str
    db_charset: str
    db_collation: str
    blog_charset: str
    permalink_structure: str
    multisite: bool
    tables: tuple[TableReport, ...]
    left_out: tuple[LeftOut, ...]
    views: tuple[str, ...]
    triggers: tuple[str, ...]
    files: int
    file_bytes: int
    constants: Mapping[str, Any]
    withheld: Mapping[str, str]
    code_in_wp_config: bool
    code_found: tuple[str, ...]
    administrators: tuple[str, ...]
    active_plugins: tuple[str, ...]
    template: str
    stylesheet: str
    drop_ins: tuple[str, ...]
    excluded: tuple[Excluded, ...] = ()
    left_out_files: tuple[LeftOut, ...] = ()
    left_out_files_count: int = 0
    client_charset: str = "utf8mb4"
    client_collation: str = ""
    active_agents: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The estimated number of rows of all own tables."""
        return sum(table.rows for table in self.tables)

    @property
    def table_bytes(self) -> int:
        """The data of all own tables, in bytes."""
        return sum(table.bytes for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """As plain objects, for a job's facts."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also after a round through JSON text."""
        made = {one.name: value[one.name] for one in fields(cls) if one.name in value or one.default is MISSING}
        for name in ("views", "triggers", "code_found", "administrators", "active_plugins", "drop_ins", "active_agents"):
            made[name] = tuple(made.get(name, ()))
        made["tables"] = tuple(TableReport(**table) for table in made["tables"])
        made["left_out"] = tuple(LeftOut(**item) for item in made["left_out"])
        made["left_out_files"] = tuple(LeftOut(**item) for item in made.get("left_out_files", ()))
        made["excluded"] = tuple(Excluded(**item) for item in made.get("excluded", ()))
        made["roots"] = tuple(
            Root(**{**root, "usual": tuple((here, usual) for here, usual in root["usual"])}) for root in made["roots"]
        )
        return cls(**made)


def refuse_unsupported(report: SiteReport) -> None:
    """Raise SiteError(MULTISITE_UNSUPPORTED) for a network."""
    if report.multisite:
        raise SiteError(Reason.MULTISITE_UNSUPPORTED)


async def inspect(
    agent: AgentClient, *, keep_constants: Collection[str] = (), exclude: Excludes = NOTHING_EXCLUDED
) -> SiteReport:
    """Ask the agent what the site is and walk its file index once. `keep_constants` keep their value whatever they look like.

    Raises SiteError: NOT_WORDPRESS, CORE_TABLE_EXCLUDED, SOURCE_DATABASE_DOWN, AGENT_REFUSED and what any request may raise.
    """
    said = await agent.describe()
    try:
        return await _report(agent, said, keep_constants, exclude)
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, "The agent described the site in a way that makes no sense.") from error


async def _report(agent: AgentClient, said: Mapping[str, Any], keep: Collection[str], exclude: Excludes) -> SiteReport:
    options, constants = said["options"], dict(said["constants"] or {})
    kept, withheld = _without_secrets(constants, keep)
    if not options.get("siteurl"):
        raise SiteError(Reason.NOT_WORDPRESS, "The site's options have no siteurl; repair the site's database first.")
    roots = roots_to_copy(_paths(said["roots"]), _paths(said["real"]))
    tally = Tally(exclude)
    names = {decoded(table["name"]): table for table in said["tables"]}
    if said["database"]["lower_case"]:
        used = as_configured(names, str(said["prefix"]).encode())
        names = {name: names[stored] for name, stored in used.items()}
    own, left_out, views = _tables(names, str(said["prefix"]), constants, exclude, tally)
    files = await _count_files(agent, roots, exclude, tally)
    content = decoded(said["roots"]["content"]) if "content" in said["roots"] else decoded(said["abspath"]) + b"wp-content"
    active = _texts(options.get("active_plugins", []))
    return SiteReport(
        home=_text(constants.get("WP_HOME") or options.get("home") or options["siteurl"]).rstrip("/"),
        siteurl=_text(constants.get("WP_SITEURL") or options["siteurl"]).rstrip("/"),
        title=_text(options.get("blogname", "")),
        abspath=shown(decoded(said["abspath"])),
        content_dir=shown(content),
        roots=roots,
        table_prefix=_text(said["prefix"]),
        wp_version=_text(said["wp"]["version"]),
        php_version=_text(said["php"]),
        db_version=_text(said["database"]["version"]),
        db_charset=_text(said["database"]["charset"]),
        db_collation=_text(said["database"]["collation"]),
        blog_charset=_text(options.get("blog_charset", "UTF-8")),
        permalink_structure=_text(options.get("permalink_structure", "")),
        multisite=bool(said["multisite"]),
        tables=own,
        left_out=left_out,
        views=views,
        triggers=tuple(_text(name) for name, table in said["triggers"] if _text(table) in {one.name for one in own}),
        client_charset=_text(said["client"]["charset"]).lower(),
        client_collation=_text(said["client"]["collation"]),
        files=files.number,
        file_bytes=files.bytes,
        constants=kept,
        withheld=withheld,
        code_in_wp_config=bool(said["code"]),
        code_found=_texts(said["code"]),
        administrators=_texts(said["administrators"]),
        active_plugins=tuple(plugin for plugin in active if not is_agent(plugin)),
        active_agents=tuple(plugin for plugin in active if is_agent(plugin)),
        template=_text(options.get("template", "")),
        stylesheet=_text(options.get("stylesheet", "")),
        drop_ins=tuple(files.drop_ins),
        excluded=tally.sums(),
        left_out_files=tuple(files.left_out),
        left_out_files_count=files.left_out_count,
    )


def _paths(said: Mapping[str, object]) -> dict[str, bytes]:
    return {name: decoded(path) for name, path in said.items()}


def _text(value: object) -> str:
    if not isinstance(value, (str, int)):
        raise TypeError("text expected")
    return str(value)


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _without_secrets(constants: Mapping[str, Any], keep: Collection[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The constants without credentials' values, and which they are. Names alone tell wp_config enough; a value that only looks
    like a credential is withheld here, because nothing could tell from the name later."""
    kept, withheld = {}, {}
    for name, value in constants.items():
        reason = judge(name, value, keep=name in keep)
        if reason not in (Withheld.CREDENTIAL, Withheld.SET_BY_CLONE):
            kept[name] = value
        elif judge(name, None) is None:
            withheld[name] = str(reason)
        else:
            kept[name] = None
    return kept, withheld


def _tables(
    named: Mapping[bytes, Mapping[str, Any]], prefix: str, constants: Mapping[str, Any], exclude: Excludes, tally: Tally
) -> tuple[tuple[TableReport, ...], tuple[LeftOut, ...], tuple[str, ...]]:
    """The site's own tables, what else is in the database and why it stays there, and the site's own views."""
    shared = [str(constants[name]).encode() for name in ("CUSTOM_USER_TABLE", "CUSTOM_USER_META_TABLE") if name in constants]
    mine = own_tables(named, prefix.encode(), shared=shared)
    needed = {prefix.encode() + table for table in CORE + USERS} | set(shared)
    own, left_out, views = [], [], []
    for name, table in sorted(named.items()):
        if name not in mine:
            left_out.append(LeftOut(shown(name), "not a table of this WordPress"))
        elif glob := table_glob(shown(name), prefix, exclude.tables):
            if name in needed:
                raise SiteError(Reason.CORE_TABLE_EXCLUDED, table=shown(name), glob=glob)
            tally.add("table", glob, int(table["bytes"] or 0))
            left_out.append(LeftOut(shown(name), excludes.REASON))
        elif table["type"] not in ("BASE TABLE", "SYSTEM VERSIONED"):
            if table["type"] == "VIEW":
                views.append(shown(name))
            else:
                left_out.append(LeftOut(shown(name), f"a {str(table['type']).lower()}; only tables and views are copied"))
        elif table["engine"] is None:
            left_out.append(LeftOut(shown(name), "the source's database cannot open it; repair it there"))
        else:
            report = TableReport(
                name.decode(), int(table["rows"]), int(table["bytes"]), str(table["engine"]), int(table["average"])
            )
            own.append(report)
    return tuple(own), tuple(left_out), tuple(views)


@dataclass
class _Files:
    """What the file index says: files to copy, their bytes, the drop-ins that are there, and what stays behind."""

    number: int = 0
    bytes: int = 0
    drop_ins: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    left_out_count: int = 0


async def _count_files(agent: AgentClient, roots: Sequence[Root], exclude: Excludes, tally: Tally) -> _Files:
    files = _Files()
    for root in roots:
        async with aclosing(agent.index(root.name, skip=list(root.skipped()))) as index:
            async for found in index:
                for entry in found:
                    _judge_file(entry, root, files, exclude, tally)
    return files


def _judge_file(entry: Entry, root: Root, files: _Files, exclude: Excludes, tally: Tally) -> None:
    path, is_file = root.rule_path(entry.path), entry.kind in "fF"
    if is_file and path.startswith(b"wp-content/") and path[11:] in DROP_INS:
        files.drop_ins.append(shown(path))
    reason = why_not(entry, root, exclude.paths)
    if reason is None:
        files.number += is_file
        files.bytes += entry.size if is_file else 0
    elif reason == excludes.REASON:
        glob = path_glob(shown(path), exclude.paths)
        if is_file and glob is not None:
            tally.add("path", glob, entry.size)
    else:
        files.left_out_count += 1
        if len(files.left_out) < MOST_LEFT_OUT:
            files.left_out.append(LeftOut(shown(path), reason))
