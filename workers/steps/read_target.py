"""Copy the target's tables beside the clone's, so that what changed there since is told by SQL; and a foreign source's too."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.restore_merge import RestoreMerge
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from workers.steps.stage_tables import take_back
from wpclone.wordpress.progress import Counts


class ReadTarget:
    """The step `read_target`. Its undo, and `put_away`, drop the copies."""

    name = "read_target"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: the tables that were read. Resumes at the chunk."""
        merge = RestoreMerge.of(context, self._databases)
        found = merge.found

        def tell(counts: Counts) -> None:
            context.report(
                counts.fraction, f"Reading the target's tables: {counts.rows_done:,} of about {counts.rows_total:,} rows"
            )

        async with self._sites.target(context) as target:
            if merge.request.is_dry_run:
                await merge.copy.look(target.agent, found.target, found.shared, merge.inward, tell)
            else:
                await merge.copy.read(target, found.target, found.shared, merge.inward, tell)
        if context.job.clone_id is None:
            prefix = found.source.table_prefix
            async with self._sites.source(context) as agent:
                tables = [prefix + name for name in found.tables]
                await merge.source_copy.read_source(agent, found.source, tables, tell)
        return Done({"tables": found.shared})

    async def undo(self, context: StepContext) -> None:
        """Drop the copies, and what claiming the target left there."""
        await self._databases.drop_scratch(context.job.job_id)
        if not context.job.request.get("dry_run"):
            await take_back(self._sites, context)


class PutAway:
    """The step `put_away`: the scratch copies have done their work."""

    name = "put_away"

    def __init__(self, databases: CloneDatabases) -> None:
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Drop them."""
        await self._databases.drop_scratch(context.job.job_id)
        return Done()

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""
