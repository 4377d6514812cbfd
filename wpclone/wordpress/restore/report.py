"""What a target is, and whether a restore may begin there: judged before anything is written, one clear error each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from yarl import URL

from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Damaged, decoded
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.file_rules import shown
from wpclone.wordpress.inspect import SiteReport, refuse_unsupported
from wpclone.wordpress.ownership import USERS
from wpclone.wordpress.table_definition import Server

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# What a file system keeps for itself and the site needs to go on working meanwhile.
_SPARE_BYTES = 32 << 20


@dataclass(frozen=True)
class TargetReport:
    """What the agent found at the target. `roots`: the directories it has, by the agent's names. `free_bytes`: of the
    fullest file system written to, -1 if PHP will not say; `volumes`: of each root its device's number and what is free there.

    `triggers`: tables that have some; `references`: (table, table it refers to); `refused_by_database`: what its account may not
    do, empty for nothing; `plugins`, `themes`: directories and files by name; `restores`: ids of
    restores whose sets are kept there.
    """

    roots: tuple[str, ...]
    not_writable: tuple[str, ...]
    missing_functions: tuple[str, ...]
    free_bytes: int
    post_bytes: int
    memory_bytes: int
    packet_bytes: int
    db_version: str
    collations: tuple[str, ...]
    charsets: tuple[str, ...]
    triggers: tuple[str, ...]
    references: tuple[tuple[str, str], ...]
    refused_by_database: str
    plugins: tuple[str, ...]
    themes: tuple[str, ...]
    restores: tuple[str, ...]
    volumes: tuple[tuple[str, int, int], ...] = ()

    @property
    def server(self) -> Server:
        """What its database knows of collations and character sets."""
        known = {name.lower() for name in self.collations if name}
        # MariaDB 10.10 lists the UCA 14 collations without their character set and takes them for any Unicode one.
        known |= {f"utf8mb4_{name}" for name in known if name.startswith("uca1400")}
        return Server(frozenset(known), frozenset(name.lower() for name in self.charsets))

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also after a round through JSON text."""
        made = {item.name: value[item.name] for item in fields(cls) if item.name in value}
        for name in (
            "roots",
            "not_writable",
            "missing_functions",
            "collations",
            "charsets",
            "triggers",
            "plugins",
            "themes",
            "restores",
        ):
            made[name] = tuple(made[name])
        made["volumes"] = tuple((root, device, free) for root, device, free in made.get("volumes", ()))
        made["references"] = tuple((child, parent) for child, parent in made["references"])
        return cls(**made)


async def examine(agent: AgentClient) -> TargetReport:
    """Ask the target's agent; leaves nothing behind. Raises SiteError."""
    said = (await agent.order({"verb": "restore", "do": "examine"}))[0]
    try:
        return _report(said)
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise SiteError(Reason.SOURCE_DAMAGED_ANSWER, "The agent described the target in a way that makes no sense.") from error


def _report(said: Mapping[str, Any]) -> TargetReport:
    free = [int(size) for size in dict(said["free"]).values() if int(size) >= 0]
    devices = dict(said.get("devices", {}))  # an older agent put there by hand does not say them: one for all
    return TargetReport(
        roots=tuple(str(name) for name in dict(said["free"])),
        not_writable=tuple(shown(decoded(path)) for path in said["refused"]),
        missing_functions=tuple(str(name) for name in said["missing"]),
        free_bytes=min(free) if free else -1,
        post_bytes=_bytes(str(said["post"])),
        memory_bytes=_bytes(str(said["memory"])),
        packet_bytes=int(said["packet"]),
        db_version=str(said["version"]),
        collations=tuple(str(name) for name in said["collations"]),
        charsets=tuple(str(name) for name in said["charsets"]),
        triggers=tuple(shown(decoded(name)) for name in said["triggers"]),
        references=tuple((shown(decoded(child)), shown(decoded(parent))) for child, parent in said["references"]),
        refused_by_database=str(said["database"]),
        plugins=tuple(shown(decoded(name)) for name in said["plugins"]),
        themes=tuple(shown(decoded(name)) for name in said["themes"]),
        restores=tuple(str(name) for name in said["restores"]),
        volumes=tuple((str(root), int(devices.get(root, 0)), int(size)) for root, size in dict(said["free"]).items()),
    )


def _bytes(setting: str) -> int:
    """A php.ini size; 0 or less is no limit."""
    text = setting.strip().lower()
    unit = _UNITS.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    return int(digits or 0) * unit


def refuse_target(
    target: TargetReport, target_site: SiteReport, source_site: SiteReport, *, tables: Sequence[str],
    preserve_plugins: Sequence[str] = (), preserve_themes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Raise the SiteError that stands in the way of replacing `tables` (names at the target), if one does.

    `preserve_…`: plugins and themes (directory or file names) that must stay.
    """
    if _address(target_site) == _address(source_site):
        raise SiteError(Reason.RESTORE_ONTO_ITSELF, url=target_site.home)
    refuse_unsupported(source_site)
    refuse_unsupported(target_site)
    if target.missing_functions:
        _incompatible(f"its PHP forbids {', '.join(target.missing_functions)}")
    if target.not_writable:
        raise SiteError(
            Reason.TARGET_NOT_WRITABLE,
            f"The web server's user may not write to {target.not_writable[0]} at the target; allow it, then try again.",
            directories=", ".join(target.not_writable),
        )
    refuse_too_little_space(target, {})
    _refuse_preserved(target, preserve_plugins, preserve_themes)
    _refuse_database(target, target_site, source_site, set(tables))


def refuse_too_little_space(target: TargetReport, needed: Mapping[str, int]) -> None:
    """Raise SiteError(TARGET_TOO_SMALL) when a file system there has not these bytes (by root) and a spare.

    Tables are written where only their server knows: count them to `content`, for where there is little it is one disk for all.
    """
    places = {root: device for root, device, _ in target.volumes}
    home = places.get("content", 0)
    asked = {home: 0}  # the journal is written in any case
    for root, size in needed.items():
        device = places.get(root, home)
        asked[device] = asked.get(device, 0) + size
    for _, device, free in target.volumes:
        if device in asked and 0 <= free < asked[device] + _SPARE_BYTES:
            raise SiteError(Reason.TARGET_TOO_SMALL, needed_bytes=str(asked[device] + _SPARE_BYTES), free_bytes=str(free))


def _address(site: SiteReport) -> tuple[str | None, int | None, str]:
    url = URL(site.home)
    return url.host, url.port, url.path.rstrip("/")


def _incompatible(why: str, detail: str = "") -> None:
    raise SiteError(Reason.TARGET_INCOMPATIBLE, f"The target cannot take this content: {why}.", detail=detail or why)


def _refuse_preserved(target: TargetReport, plugins: Sequence[str], themes: Sequence[str]) -> None:
    for kind, wanted, there in (("plugin", plugins, target.plugins), ("theme", themes, target.themes)):
        missing = sorted({name.strip("/").partition("/")[0] for name in wanted} - set(there))
        if missing:
            sentence = f"The target has no {kind} {missing[0]} to preserve; name only ones that are there."
            raise SiteError(Reason.PRESERVE_UNKNOWN, sentence, names=", ".join(missing))


def _refuse_database(target: TargetReport, target_site: SiteReport, source_site: SiteReport, tables: set[str]) -> None:
    if target.refused_by_database:
        _incompatible(f"its database account may not {target.refused_by_database}", detail=target.refused_by_database)
    if _major(source_site.wp_version) > _major(target_site.wp_version):
        versions = f"WordPress {source_site.wp_version} content for WordPress {target_site.wp_version}"
        _incompatible(f"it runs an older WordPress ({versions}); update it first", detail=versions)
    triggered = sorted(tables & set(target.triggers))
    if triggered:
        _incompatible(f"its table {triggered[0]} has triggers, which would go with the old table", detail=", ".join(triggered))
    bound = sorted(child for child, parent in target.references if parent in tables and child not in tables)
    if bound:
        _incompatible(f"its table {bound[0]}, which stays, refers to one that is replaced", detail=", ".join(bound))
    prefix = target_site.table_prefix
    if prefix != source_site.table_prefix and tables & {prefix + name.decode() for name in USERS}:
        _incompatible("users can only be restored between sites with the same table prefix")


def _major(version: str) -> tuple[int, int]:
    """The part of a WordPress version that its database changes with."""
    numbers = [int(part) if part.isdigit() else 0 for part in (*version.partition("-")[0].split("."), "0")[:2]]
    return numbers[0], numbers[1]
