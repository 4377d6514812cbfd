"""A restore of one real site's content to another, driven step by step as the worker does."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from tests.support.source_site import SourceSite, agent_of, site_session
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.inspect import SiteReport, inspect
from wpclone.wordpress.progress import Counts, Progress
from wpclone.wordpress.restore.file_plan import FileChoice, FilePlan
from wpclone.wordpress.restore.files import plan_files, stage_files, verify_files
from wpclone.wordpress.restore.options import settle_options
from wpclone.wordpress.restore.report import TargetReport, examine
from wpclone.wordpress.restore.tables import TablesStaged, stage_tables, verify_tables
from wpclone.wordpress.restore.target import RestoreTarget
from wpclone.wordpress.rewrite import Mapping, Rewriter

RESTORE_ID = "restore-0123456789ab"
CONTENT_TABLES = ("wp_options", "wp_posts", "wp_postmeta", "wp_terms", "wp_term_taxonomy", "wp_term_relationships", "wp_termmeta")


def nothing(_: Counts) -> None:
    """Progress nobody looks at."""


@dataclass
class Restoring:
    """One restore under way: both agents, both reports, and the target as one claim drives it."""

    source: AgentClient
    source_site: SiteReport
    agent: AgentClient
    target_site: SiteReport
    report: TargetReport
    target: RestoreTarget

    def again(self, fence: int) -> "Restoring":
        """The same restore by a later claim."""
        target = RestoreTarget(self.agent, RESTORE_ID, fence=fence)
        return Restoring(self.source, self.source_site, self.agent, self.target_site, self.report, target)

    async def stage(self, names: Sequence[str], rewriter: Rewriter, progress: Progress) -> TablesStaged:
        """Stage tables."""
        return await stage_tables(
            self.source, self.source_site, self.target, tables=names, target_report=self.report, target_prefix="wp_",
            rewriter=rewriter, progress=progress,
        )  # fmt: skip

    async def verify(self, names: Sequence[str]) -> None:
        """Read staged tables back."""
        await verify_tables(
            self.source, self.source_site, self.target, tables=names, target_report=self.report, target_prefix="wp_",
            progress=nothing,
        )  # fmt: skip

    async def tables(self, names: Sequence[str] = CONTENT_TABLES) -> TablesStaged:
        """Stage and verify tables, with addresses moved to the target's."""
        rewriter = Rewriter(Mapping.of([self.source_site.home], self.target_site.home))
        staged = await self.stage(names, rewriter, nothing)
        await self.verify(names)
        return staged

    async def files(self, choice: FileChoice = FileChoice(preserve_plugins=False)) -> FilePlan:  # noqa: B008 - frozen
        """Plan, stage and verify files."""
        plan = await self.plan(choice)
        await stage_files(self.source, self.target, plan, progress=nothing)
        await verify_files(self.source, self.target, plan, progress=nothing)
        return plan

    async def plan(self, choice: FileChoice) -> FilePlan:
        """What differs between the sites."""
        return await plan_files(self.source, self.source_site, self.agent, self.target_site, self.report, choice)

    async def sealed(self, names: Sequence[str] = CONTENT_TABLES, *, preserve_plugins: bool = False) -> FilePlan:
        """Everything up to the exchange."""
        await self.target.claim()
        await self.tables(names)
        await settle_options(
            self.target,
            self.source_site,
            self.target_site,
            tables=names,
            preserve_plugins=preserve_plugins,
            preserve_themes=False,
        )
        plan = await self.files(FileChoice(preserve_plugins=preserve_plugins))
        await self.target.seal(plan, names)
        return plan


@asynccontextmanager
async def restoring(
    source: SourceSite, target: SourceSite, *, fence: int = 1, through: AgentClient | None = None
) -> AsyncIterator[Restoring]:
    """A restore from one site to another; what it left at the target is released in the end. `through`: the target's agent."""
    async with agent_of(source) as one, agent_of(target) as usual:
        other = through or usual
        made = Restoring(
            one,
            await inspect(one),
            other,
            await inspect(other),
            await examine(other),
            RestoreTarget(other, RESTORE_ID, fence=fence),
        )
        try:
            yield made
        finally:
            last = RestoreTarget(other, RESTORE_ID, fence=1 << 60)
            state = await last.find()
            if state is not None:
                if state.state not in ("live", "rolled_back", "releasing"):
                    await last.rollback()
                await last.release()


def content(site: SourceSite, tables: Sequence[str] = CONTENT_TABLES) -> dict[str, object]:
    """What a site is made of: a checksum of each table, a hash of each file below wp-content."""
    found: dict[str, object] = {}
    for table in tables:
        found[table] = site.sql(f"CHECKSUM TABLE `{table}` EXTENDED")[0][1]
    if "wp_options" in found:  # each visit may write a transient or note that cron ran
        written = "option_name = 'cron' OR option_name LIKE '%transient%'"
        found["wp_options"] = site.sql(
            "SELECT BIT_XOR(CRC32(CONCAT_WS('=', option_name, option_value, autoload))), COUNT(*) FROM wp_options"
            f" WHERE NOT ({written})"
        )
    found |= files(site.docroot / "wp-content")
    return found


def files(root: Path) -> dict[str, object]:
    """Every file below a directory with its hash; links by what they say."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(".wpclone-restore"):
            continue
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


async def home_page(site: SourceSite) -> tuple[int, str]:
    """The status and the text of a site's home page."""
    async with site_session() as session:
        page = await session.fetch("GET", URL(site.url + "/"))
        return page.status, page.body.decode()
