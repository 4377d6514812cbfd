"""Stage the tables that change beside the target's own, and give the target's own rows back to them. Nothing live is touched."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.restore_merge import RestoreMerge
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.restore.tables import stage_tables, verify_tables


class StageTables:
    """The step `stage_tables`. Its undo takes everything of this restore away from the target."""

    name = "stage_tables"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: what was staged: rows and checksums, read back and compared. Resumes at the chunk."""
        merge = RestoreMerge.of(context, self._databases)
        found, changing = merge.found, context.facts["merge_tables"]["tables"]
        names = [table["source"] for table in changing if table["how"] != "nothing"]

        def tell(counts: Counts) -> None:
            context.report(counts.fraction, f"Staging tables: {counts.rows_done:,} of about {counts.rows_total:,} rows")

        async with self._sites.target(context) as target, self._sites.source(context) as source:
            await target.claim()
            staged = await stage_tables(
                source, found.source, target, tables=names, target_report=found.means, target_prefix=found.target.table_prefix,
                rewriter=merge.outward, progress=tell,
            )  # fmt: skip
            await verify_tables(
                source, found.source, target, tables=names, target_report=found.means, target_prefix=found.target.table_prefix,
                progress=tell,
            )  # fmt: skip
        return Done(staged.to_json())

    async def undo(self, context: StepContext) -> None:
        """Whatever state it is in: the target is what it was, and nothing of ours is left there."""
        await take_back(self._sites, context)


class CarryRows:
    """The step `carry_rows`: the staged tables become what was decided. Its effect goes with what was staged."""

    name = "carry_rows"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: `options`: what of them stays production's, and what is active."""
        merge = RestoreMerge.of(context, self._databases)
        staged = merge.staged()
        async with self._sites.target(context) as target:
            await target.claim()
            await target.number(staged)
            settled = await merge.carry_out(target, staged, staged)
        return Done({"options": settled.to_json()})

    async def undo(self, context: StepContext) -> None:
        """Nothing of it is live."""


async def take_back(sites: RestoreSites, context: StepContext) -> None:
    """Bring the target back to what it was, and remove everything of this restore from it; success when nothing is there."""
    async with sites.target(context) as target:
        state = await target.find()
        if state is None:
            return
        if state.state not in ("staging", "staged", "rolled_back", "releasing"):
            await target.rollback()
        await target.release()
