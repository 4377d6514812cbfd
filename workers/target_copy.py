"""The scratch copy of a restore's target: its tables beside the clone's, addresses as in the clone, to be compared there.

Each table's mark (what it was at the target when its reading began) is kept in the same database, so that every later attempt
knows what the copy is a copy of. Reading a table again replaces its copy and its mark.
"""

# ruff: noqa: S608 - statements are made of quoted names and our own constants; values are parameters

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workers.clone_databases import CloneDatabases
from workers.merge.shape import among, full
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.control import TABLE as CONTROL_TABLE
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Progress
from wpclone.wordpress.restore.target import RestoreTarget
from wpclone.wordpress.rewrite import Rewriter
from wpclone.wordpress.tables import TargetDatabase, copy_tables

_MARKS = "wpclone_marks"


@dataclass(frozen=True)
class TargetCopy:
    """The scratch database `name` of one restore, as the claim with this `fence` may write it."""

    databases: CloneDatabases
    name: str
    fence: int

    async def read(
        self, target: RestoreTarget, site: SiteReport, tables: Sequence[str], rewriter: Rewriter, progress: Progress
    ) -> None:
        """Copy these tables of the target, or go on copying them. Raises SiteError, FencedOff, RetryLater, Fatal."""
        await target.claim()
        await self.databases.create_scratch(self.name)
        known = await self.marks()
        await self._keep(await target.marks([table for table in tables if table not in known]))
        await self._copy(target.agent, site, tables, rewriter, progress)

    async def read_again(
        self, target: RestoreTarget, site: SiteReport, tables: Sequence[str], rewriter: Rewriter, progress: Progress
    ) -> None:
        """Copy these tables anew: they changed since."""
        async with self.databases.connection() as cursor:
            control = full(self.name, CONTROL_TABLE.decode())
            await cursor.execute(f"DELETE FROM {control} WHERE name IN {among(tables)}", ())
            await cursor.execute(f"DELETE FROM {full(self.name, _MARKS)} WHERE name IN {among(tables)}", ())
        await self._keep(await target.marks(tables))
        await self._copy(target.agent, site, tables, rewriter, progress)

    async def look(
        self, agent: AgentClient, site: SiteReport, tables: Sequence[str], rewriter: Rewriter, progress: Progress
    ) -> None:
        """Copy these tables for a dry run: without marks, which would leave a trace at the target."""
        await self.databases.create_scratch(self.name)
        await self._copy(agent, site, tables, rewriter, progress)

    async def read_source(self, agent: AgentClient, site: SiteReport, tables: Sequence[str], progress: Progress) -> None:
        """Copy tables of a source that is no clone of ours, unchanged."""
        await self.databases.create_scratch(self.name)
        await self._copy(agent, site, tables, None, progress)

    async def marks(self) -> dict[str, str]:
        """What the copied tables were when their reading began."""
        async with self.databases.connection() as cursor:
            await cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {full(self.name, _MARKS)}"
                " (name VARBINARY(255) PRIMARY KEY, mark VARCHAR(255) NOT NULL)", ()
            )  # fmt: skip
            await cursor.execute(f"SELECT name, mark FROM {full(self.name, _MARKS)}", ())
            return {bytes(name).decode(): str(mark) for name, mark in await cursor.fetchall()}

    async def _keep(self, marks: Mapping[str, str]) -> None:
        async with self.databases.connection() as cursor:
            for name, mark in marks.items():
                await cursor.execute(f"INSERT INTO {full(self.name, _MARKS)} VALUES (%s, %s)", (name, mark))

    async def _copy(
        self, agent: AgentClient, site: SiteReport, tables: Sequence[str], rewriter: Rewriter | None, progress: Progress
    ) -> None:
        wanted = set(tables)
        chosen = replace(site, tables=tuple(table for table in site.tables if table.name in wanted), triggers=())
        server = self.databases.server
        scratch = TargetDatabase(server.user, server.password, self.name, server.host, server.port)
        if chosen.tables:
            await copy_tables(agent, chosen, scratch, rewriter=rewriter, fence=self.fence, progress=progress)
