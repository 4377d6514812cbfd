"""Decide whose version each row gets, and tell: the restore's plan for the tables, and a dry run's report on them."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.merge.decide import Policy
from workers.restore_merge import RestoreMerge
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from workers.steps.target_room import refuse_too_little_room
from wpclone.core.jobs.errors import Fatal


class MergeTables:
    """The step `merge_tables`. Writes decisions into the scratch copy only, which goes with it."""

    name = "merge_tables"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: what becomes of each table, and the first conflicts. Raises Fatal(RESTORE_CONFLICTS) when policy is abort,
        SiteError(TARGET_TOO_SMALL) when what was decided does not fit there."""
        merge = RestoreMerge.of(context, self._databases)
        async with merge.opened() as merging:
            merged = await merging.decide(merge.found.tables)
        if merged.conflict_count and merge.request.policy is Policy.ABORT and not merge.request.is_dry_run:
            first = merged.conflicts[0]
            sentence = (
                f"{merged.conflict_count} rows were changed both in the clone and at the target, such as {first['table']} "
                f"{first['key']} ({first['conflict']}); nothing was changed. Choose keep_target or take_clone."
            )
            raise Fatal("RESTORE_CONFLICTS", sentence, metadata={"conflicts": str(merged.conflict_count)})
        decided = merged.to_json()
        context.report(0.8, "Comparing files")
        await refuse_too_little_room(context, self._databases, self._sites, decided["tables"])
        return Done(decided)

    async def undo(self, context: StepContext) -> None:
        """The decisions go with the scratch copy."""
