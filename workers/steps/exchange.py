"""Exchange the staged content with the live one: nothing lost, nothing between, and back again when the site is not healthy."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from workers.clone_databases import CloneDatabases
from workers.restore_merge import RestoreMerge
from workers.restore_sites import RestoreSites
from workers.step import Done, StepContext
from workers.steps.stage_tables import take_back
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.restore.health import check_health
from wpclone.wordpress.restore.target import RestoreState, RestoreTarget

_log = structlog.get_logger(__name__)

CALM_ROUNDS = 3
"""How often changed tables are read again while the site is open, before it is closed for the exchange."""

CLOSED_ROUNDS = 5
"""How often while it is closed."""

_ONGOING = ("switching", "undoing")


class Exchange:
    """The step `exchange`. Its undo brings the old content back."""

    name = "exchange"

    def __init__(self, sites: RestoreSites, databases: CloneDatabases) -> None:
        self._sites = sites
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: `state` of the target, the pages that were looked at, tables read again. Goes on where an attempt was lost.

        Raises Fatal(TARGET_UNHEALTHY) after the old content is back, RetryLater(TARGET_CHANGING) when the site never stood still.
        """
        merge = RestoreMerge.of(context, self._databases)
        async with self._sites.target(context) as target:
            state = await target.claim()
            if state.state in _ONGOING:
                state = await target.resume()
            if state.state == "rolled_back":
                raise Fatal("TARGET_UNHEALTHY", "The target was not healthy with the new content; its old content is back.")
            again: list[str] = []
            if state.state == "staged":
                state = await self._swap(context, merge, target, again)
            pages = await self._judge(merge, target, state) if state.state == "swapped" else []
            behind = await target.versions_behind()
        return Done(
            {
                "state": "live", "pages": pages, "read_again": sorted(set(again)), "old_bytes": state.old_bytes,
                "permalink_rules": state.rules, "versions_behind": behind,
            }
        )  # fmt: skip

    async def undo(self, context: StepContext) -> None:
        """The old content is live again, and nothing of ours is left."""
        await take_back(self._sites, context)

    async def _swap(self, context: StepContext, merge: RestoreMerge, target: RestoreTarget, again: list[str]) -> RestoreState:
        staged = merge.staged()
        watched = [name for name in staged if name in merge.found.shared]
        await target.number(staged)
        for _ in range(CALM_ROUNDS):
            if not await self._catch_up(context, merge, target, watched, again):
                break
        try:
            for _ in range(CLOSED_ROUNDS):
                await target.maintenance(True)
                await self._catch_up(context, merge, target, watched, again)
                context.report(0.7, "Exchanging the content")
                result = await target.swap(expected=await self._expected(merge, watched))
                if not result.changed:
                    return result.state
                _log.info("restore.changed_meanwhile", job_id=context.job.job_id, tables=list(result.changed))
        except BaseException:
            await _open(target)
            raise
        await _open(target)
        raise RetryLater("TARGET_CHANGING", "The target's content changes all the time; it is tried again.")

    async def _catch_up(
        self, context: StepContext, merge: RestoreMerge, target: RestoreTarget, tables: list[str], again: list[str]
    ) -> bool:
        """Read anew what changed since it was read; whether anything had."""
        expected, marks = await self._expected(merge, tables), await target.marks(tables)
        changed = [name for name in tables if marks[name] != expected.get(name)]
        if changed:
            again += changed
            context.report(0.3, f"Reading again what changed at the target: {', '.join(changed[:3])}")
            await merge.read_again(self._sites, target, changed, _silently)
        return bool(changed)

    async def _expected(self, merge: RestoreMerge, tables: list[str]) -> Mapping[str, str]:
        known = await merge.copy.marks()
        return {name: known[name] for name in tables if name in known}

    async def _judge(self, merge: RestoreMerge, target: RestoreTarget, state: RestoreState) -> list[dict[str, object]]:
        """Let everybody in when the site is as healthy as it was; else bring the old content back and say what was wrong."""
        async with self._sites.session(merge.context) as session:
            health = await check_health(session, merge.found.target, state, before=merge.found.health)
        if not health.ok:
            await target.rollback()
            findings = "; ".join(health.findings)
            why = f" WordPress's rules for its permalinks are not in .htaccess: {state.rules}." if "not_" in state.rules else ""
            sentence = f"With the new content the target is not healthy ({findings}); its old content is back.{why}"
            raise Fatal("TARGET_UNHEALTHY", sentence, metadata={"findings": findings[:500]})
        await target.go_live()
        return [dict(page) for page in health.to_json()["pages"]]


async def _open(target: RestoreTarget) -> None:
    """The site answers again, if nothing was exchanged."""
    state = await target.state()
    if state.state == "staged":
        await target.maintenance(False)


def _silently(_counts: Counts) -> None:
    """Progress inside of an exchange is told by its rounds."""
