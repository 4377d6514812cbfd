"""Find out which files change, and stage them beside the target's own. Nothing live is touched."""

from __future__ import annotations

from dataclasses import asdict

from workers.clone_databases import CloneDatabases, base_name
from workers.merge.base import load_base_files
from workers.restore_merge import RestoreMerge
from workers.restore_request import RestoreRequest
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from wpclone.core.jobs.errors import Fatal
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.restore.file_plan import FilePlan, make_plan
from wpclone.wordpress.restore.files import plan_files, stage_files, verify_files


class PlanFiles:
    """The step `plan_files`: a dry run's report on files, and the first look of a restore. Writes nothing."""

    name = "plan_files"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: how many files are added, changed and removed, and some of their paths."""
        async with self._sites.source(context) as source, self._sites.target_agent(context) as target:
            plan = await file_plan(context, self._databases, source, target)
        return Done(plan.to_json())

    async def undo(self, context: StepContext) -> None:
        """Nothing was made."""


class StageFiles:
    """The step `stage_files`. Its effect goes with what was staged."""

    name = "stage_files"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: what is exchanged: counts, some paths, and the sums of `directories` as read back. When this is done, the target
        knows all that the exchange takes."""
        merge = RestoreMerge.of(context, self._databases)

        def tell(counts: Counts) -> None:
            context.report(counts.fraction, f"Staging files: {counts.files_done:,} of {counts.files_total:,}")

        async with self._sites.source(context) as source, self._sites.target(context) as target:
            await target.claim()
            plan = await file_plan(context, self._databases, source, target.agent)
            await stage_files(source, target, plan, progress=tell)
            directories = await verify_files(source, target, plan, progress=tell)
            await target.seal(plan, merge.staged())
        return Done({**plan.to_json(), "directories": [asdict(one) for one in directories]})

    async def undo(self, context: StepContext) -> None:
        """Nothing of it is live."""


async def file_plan(
    context: StepContext, databases: CloneDatabases, source: AgentClient, target: AgentClient, *, compares: bool = True
) -> FilePlan:
    """Which files change. With a base, files that the clone did not change are the target's, whatever became of them there.
    `compares` as in `plan_files`. Raises SiteError, Fatal(PATHS_UNKNOWN)."""
    merge = RestoreMerge.of(context, databases)
    found, request = merge.found, merge.request
    if not request.takes_files:
        return make_plan((), {}, request.choice(found.means), same=(), roots=found.means.roots)
    before = None
    if found.has_base and context.job.clone_id is not None:
        async with databases.connection(seconds=120.0) as cursor:
            before = await load_base_files(cursor, base_name(context.job.clone_id))
    choice = request.choice(found.means)
    plan = await plan_files(
        source, found.source, target, found.target, found.means, choice, before=before, compares=compares,
    )  # fmt: skip
    _refuse_idle_paths(request, plan)
    return plan


def _refuse_idle_paths(request: RestoreRequest, plan: FilePlan) -> None:
    """A restore of named paths that finds nothing to do there was meant otherwise. Raises Fatal(PATHS_UNKNOWN)."""
    if request.paths and not plan.writes and not plan.removes:
        named = request.paths[0]
        sentence = f"paths: nothing below wp-content that differs matches {named}; name paths such as wp-content/uploads/2024/*."
        raise Fatal("PATHS_UNKNOWN", sentence, metadata={"field": "paths"})
