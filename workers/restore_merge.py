"""Merging as the steps of a restore do it: the same versions, rewriters and rules for deciding, carrying out, deciding anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from workers.clone_databases import CloneDatabases, base_name, database_name, scratch_name
from workers.merge.merge import Business, Merge, Places
from workers.outward import outward
from workers.restore_request import RestoreRequest
from workers.restore_sites import RestoreSites
from workers.step import StepContext
from workers.steps.copy_tables import mapping
from workers.steps.examine_target import Examined, ExamineTarget, examined
from workers.target_copy import TargetCopy
from wpclone.wordpress.preserve import drops_option, is_order_type, keeps_option
from wpclone.wordpress.progress import Progress
from wpclone.wordpress.restore.options import OptionsSettled, settle_options
from wpclone.wordpress.restore.target import RestoreTarget
from wpclone.wordpress.rewrite import Rewriter

_SECONDS = 3 * 3600.0


@dataclass(frozen=True)
class RestoreMerge:
    """One restore's merge, as one claim of its job may do it."""

    context: StepContext
    databases: CloneDatabases
    found: Examined
    request: RestoreRequest

    @classmethod
    def of(cls, context: StepContext, databases: CloneDatabases) -> RestoreMerge:
        """After `examine_target`."""
        return cls(context, databases, examined(context.facts[ExamineTarget.name]), RestoreRequest.of(context.job))

    @property
    def copy(self) -> TargetCopy:
        """The scratch copy of the target's tables."""
        return TargetCopy(self.databases, scratch_name(self.context.job.job_id), self.context.fence)

    @property
    def source_copy(self) -> TargetCopy:
        """The scratch copy of the tables of a source that is no clone of ours."""
        return TargetCopy(self.databases, scratch_name(self.context.job.job_id, of_source=True), self.context.fence)

    @property
    def inward(self) -> Rewriter:
        """From the target's addresses to the source's: what the target's rows would be in the clone."""
        source = self.found.source
        return Rewriter(mapping(self.found.target, source.home, source.abspath))

    @property
    def outward(self) -> Rewriter:
        """From the source's addresses to the target's."""
        return Rewriter(outward(self.found.source, self.found.target))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Merge]:
        """The merge on a connection of its own."""
        clone_id = self.context.job.clone_id
        source = database_name(clone_id) if clone_id is not None else self.source_copy.name
        base = base_name(clone_id) if clone_id is not None and self.found.has_base else ""
        prefixes = self.found.source.table_prefix, self.found.target.table_prefix
        prefix = prefixes[1].encode()
        business = Business(is_order_type, lambda name: keeps_option(name, prefix) or drops_option(name))
        async with self.databases.connection(seconds=_SECONDS) as cursor:
            yield Merge(cursor, Places(source, base, self.copy.name, *prefixes), self.request.policy, business)

    async def read_again(self, sites: RestoreSites, target: RestoreTarget, tables: Sequence[str], progress: Progress) -> None:
        """Read these tables of the target anew, decide on their rows anew and carry that out (names at the target)."""
        await self.copy.read_again(target, self.found.target, tables, self.inward, progress)
        await self.carry_out(target, self.staged(), tables)

    async def carry_out(self, target: RestoreTarget, staged: Sequence[str], tables: Sequence[str]) -> OptionsSettled:
        """Decide anew, bring the staged ones among `tables` to it, and settle what always is production's."""
        prefix = self.found.target.table_prefix
        async with self.opened() as merge:
            merged = await merge.decide(self.found.tables)
            by_rows = {table.name for table in merged.tables if table.name in staged and table.name in tables}
            for name in (name for name in self.found.tables if prefix + name in by_rows):
                await merge.carry_out(name, target, self.outward)
        return await settle_options(
            target, self.found.source, self.found.target, tables=list(staged),
            preserve_plugins=self.request.preserve_plugins, preserve_themes=self.request.preserve_themes,
        )  # fmt: skip

    def staged(self) -> list[str]:
        """The target's names of the tables that change, by what `merge_tables` found."""
        return [table["name"] for table in self.context.facts["merge_tables"]["tables"] if table["how"] != "nothing"]
