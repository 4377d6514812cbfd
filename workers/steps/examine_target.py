"""Look at both sites of a restore and judge, before anything is written: may it begin, what is it about, is there a base."""

from __future__ import annotations

from dataclasses import dataclass

from workers.clone_databases import CloneDatabases, base_name
from workers.merge.base import load_base
from workers.restore_request import RestoreRequest
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from workers.steps.preflight import TABLE_FACTOR, Room
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Facts
from wpclone.core.jobs.site_key import site_key
from wpclone.wordpress.blocking import blocking
from wpclone.wordpress.inspect import SiteReport, inspect
from wpclone.wordpress.restore.health import Health, PageHealth, check_health
from wpclone.wordpress.restore.report import TargetReport, examine, refuse_target


@dataclass(frozen=True)
class Examined:
    """What the step found: both sites, the target's means, the tables that may travel (prefixes removed), whether the clone was
    made of this very target and remembers it, and how healthy the target was."""

    source: SiteReport
    target: SiteReport
    means: TargetReport
    tables: tuple[str, ...]
    has_base: bool
    health: Health

    @property
    def shared(self) -> list[str]:
        """The target's names of the tables that may travel and that it has."""
        there = {table.name for table in self.target.tables}
        return [name for name in (self.target.table_prefix + bare for bare in self.tables) if name in there]


class ExamineTarget:
    """The step `examine_target`. Writes nothing."""

    name = "examine_target"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases, room: Room) -> None:
        self._sites = sites
        self._databases = databases
        self._room = room

    async def do(self, context: StepContext) -> Done:
        """Facts: see `examined`. Raises what is in the way, one error that names the field or the site's fault."""
        request = RestoreRequest.of(context.job)
        async with self._sites.source(context) as agent:
            source = await inspect(agent)
        async with self._sites.target_agent(context) as agent:
            target, means = await inspect(agent), await examine(agent)
        tables = request.chosen(source)
        request.refuse_unknown_names(means)
        named = [target.table_prefix + name for name in tables]
        refuse_target(means, target, source, tables=named)
        await self._refuse_too_little_room(target)
        async with self._sites.session(context) as session:
            health = await check_health(session, target)
        return Done(
            {
                "source": source.to_json(), "target": target.to_json(), "means": means.to_json(), "tables": tables,
                "has_base": await self._has_base(context, target), "health": health.to_json(),
                "site_bytes": source.file_bytes + source.table_bytes,
            }
        )  # fmt: skip

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""

    async def _refuse_too_little_room(self, target: SiteReport) -> None:
        """The target's tables are copied beside the clone for comparison."""
        needed, free = target.table_bytes * TABLE_FACTOR, await blocking(self._room.free, self._room.directory)
        if needed > free:
            raise Fatal("TOO_LITTLE_SPACE", f"Comparing the sites needs {needed / 1e6:,.0f} MB of disk here; tell the operator.")

    async def _has_base(self, context: StepContext, target: SiteReport) -> bool:
        """Whether the clone was made of the target itself, and remembers what it was then."""
        if context.job.clone_id is None:
            return False
        clone = await self._sites.clone(context)
        home, prefix = clone.facts.get("home"), clone.facts.get("table_prefix")
        if not home or site_key(str(home)) != site_key(target.home) or prefix != target.table_prefix:
            return False
        async with self._databases.connection() as cursor:
            return await load_base(cursor, base_name(clone.clone_id)) is not None


def examined(facts: Facts) -> Examined:
    """What the step's facts say."""
    health = facts["health"]
    pages = tuple(PageHealth(**page) for page in health["pages"])
    return Examined(
        SiteReport.from_json(facts["source"]), SiteReport.from_json(facts["target"]), TargetReport.from_json(facts["means"]),
        tuple(facts["tables"]), bool(facts["has_base"]), Health(pages, health["ok"], tuple(health["findings"])),
    )  # fmt: skip
