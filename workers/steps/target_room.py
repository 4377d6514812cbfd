"""Whether a restore's target has room for what will be staged there, judged before the first byte of it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.clone_databases import CloneDatabases
from workers.restore_merge import RestoreMerge
from workers.restore_sites import RestoreSites
from workers.step import StepContext
from workers.steps.preflight import TABLE_FACTOR
from workers.steps.stage_files import file_plan
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.restore.file_plan import FilePlan
from wpclone.wordpress.restore.report import examine, refuse_too_little_space


async def refuse_too_little_room(
    context: StepContext, databases: CloneDatabases, sites: RestoreSites, changing: Sequence[Mapping[str, Any]]
) -> None:
    """Raise SiteError(TARGET_TOO_SMALL) when the files that differ and the tables that change (`changing`, as `merge_tables` has
    them) do not fit. Files are compared by content only where they would not fit if all of them differed."""
    source_site = RestoreMerge.of(context, databases).found.source
    async with sites.source(context) as source, sites.target_agent(context) as target:
        means = await examine(target)
        most = await file_plan(context, databases, source, target, compares=False)
        try:
            refuse_too_little_space(means, _needed(source_site, most, changing))
        except SiteError as error:
            if error.reason is not Reason.TARGET_TOO_SMALL:
                raise
            plan = await file_plan(context, databases, source, target)
            refuse_too_little_space(means, _needed(source_site, plan, changing))


def _needed(source: SiteReport, plan: FilePlan, changing: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Bytes by the target's roots. The old tables and files are renamed, so that keeping them takes no more."""
    sizes = {table.name: table.bytes for table in source.tables}
    needed = plan.room()
    tables = sum(sizes.get(table["source"], 0) for table in changing if table["how"] != "nothing")
    needed["content"] = needed.get("content", 0) + tables * TABLE_FACTOR
    return needed
