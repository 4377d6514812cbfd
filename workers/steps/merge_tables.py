"""Decide whose version each row gets, and tell: the restore's plan for the tables, and a dry run's report on them."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.merge.decide import Policy
from workers.restore_merge import RestoreMerge
from workers.step import Done, StepContext
from wpclone.core.jobs.errors import Fatal


class MergeTables:
    """The step `merge_tables`. Writes decisions into the scratch copy only, which goes with it."""

    name = "merge_tables"

    def __init__(self, databases: CloneDatabases) -> None:
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: what becomes of each table, and the first conflicts. Raises Fatal(RESTORE_CONFLICTS) when policy is abort."""
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
        return Done(merged.to_json())

    async def undo(self, context: StepContext) -> None:
        """The decisions go with the scratch copy."""
