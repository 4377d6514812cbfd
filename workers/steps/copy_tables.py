"""Copy the source's tables into the clone's database, its addresses rewritten in the stream; resumes at the chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from workers.clone_databases import CloneDatabases
from workers.coming_place import ComingPlace
from workers.runtimes import Runtime
from workers.sources import Sources
from workers.step import Done, StepContext
from workers.steps.create_database import CreateDatabase
from workers.steps.create_site import CreateSite
from workers.steps.preflight import Preflight, report_of
from wpclone.core.jobs.errors import RetryLater
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.rewrite import Mapping, Rewriter
from wpclone.wordpress.roots import place_of
from wpclone.wordpress.tables import TableCopied, TargetDatabase, copy_tables


class CopyTables:
    """The step `copy_tables`. Its effects go with the database, which `create_database` drops."""

    name = "copy_tables"

    def __init__(self, sources: Sources, databases: CloneDatabases, runtime: Runtime) -> None:
        self._sources = sources
        self._databases = databases
        self._runtime = runtime

    async def do(self, context: StepContext) -> Done:
        """Facts: the tables with rows, bytes and checksums, consistency, what was left out. Counted once more at the end."""
        report = report_of(context.facts[Preflight.name])
        site = context.facts[CreateSite.name]
        rewriter = Rewriter(mapping(report, site["url"], site["docroot"]))
        coming = ComingPlace(self._runtime, context.clone_id, context.report)
        async with self._sources.agent(context) as agent:
            copying = copy_tables(
                agent, report, target(self._databases, context), rewriter=rewriter, fence=context.fence,
                near=await self._sources.near(context),
                progress=lambda counts: coming.report(counts.fraction, _sentence(counts)),
            )  # fmt: skip
            copied = await coming.beside(copying)
        await self._refuse_missing_rows(context, copied.tables)
        return Done(copied.to_json())

    async def undo(self, context: StepContext) -> None:
        """Nothing is left once the database has gone."""

    async def _refuse_missing_rows(self, context: StepContext, tables: tuple[TableCopied, ...]) -> None:
        """Before anything runs in the clone, its tables have exactly the rows that were read."""
        there = await self._databases.count_rows(context.clone_id, [table.name for table in tables])
        wrong = [table.name for table in tables if there.get(table.name) != table.rows]
        if wrong:
            sentence = f"The copy of {', '.join(wrong[:5])} does not have the rows that were read; it is tried again."
            raise RetryLater("ROWS_MISSING", sentence)


def target(databases: CloneDatabases, context: StepContext) -> TargetDatabase:
    """The clone's database, signed in to as its own user."""
    name, server = context.facts[CreateDatabase.name]["database"], databases.server
    return TargetDatabase(
        user=name, password=context.secrets.database_password, database=name, host=server.host, port=server.port
    )


def mapping(report: SiteReport, url: str, docroot: str) -> Mapping:
    """Where the source's addresses and directories are in the clone.

    A clone has its core at its root, so both of a source's addresses, though one may lie below the other, become the clone's one.
    Content that the source shows elsewhere (WP_CONTENT_URL) is where the clone shows it.
    """
    places = [(report.siteurl, ""), (report.home, ""), *_content_addresses(report)]
    locations = {
        (location.host, location.ports, location.path): replace(location, below=below)
        for address, below in places
        for location in Mapping.of([address], url).sources
    }
    paths = [
        (path, f"{docroot.rstrip('/')}/{root.place}".rstrip("/")) for root in report.roots for path in (root.path, root.real)
    ]
    with_paths = Mapping.of(
        [report.home], url, [*(pair for pair in paths if pair[0].rstrip("/").startswith("/")), *relative(report)]
    )
    by_length = sorted(locations.values(), key=lambda location: -len(location.path))
    return Mapping(tuple(by_length), with_paths.target, with_paths.paths)


ADDRESSES = {"WP_CONTENT_URL": "content", "WP_PLUGIN_URL": "plugins", "WPMU_PLUGIN_URL": "mu-plugins"}
"""Constants that say where content directories are shown, by the directory's name."""


def _content_addresses(report: SiteReport) -> Iterator[tuple[str, str]]:
    """Where the source shows its content directories, and their paths below the clone's address."""
    for name, root in ADDRESSES.items():
        address = report.constants.get(name)
        if isinstance(address, str) and address.startswith(("http://", "https://")) and urlsplit(address).hostname:
            yield address, "/" + place_of(report.roots, root)


def relative(report: SiteReport) -> list[tuple[str, str]]:
    """Addresses without a host, as far as they cannot be anything else: `/blog/wp-content` of a site at `/blog`, `/app/uploads`
    of one whose content is shown at `/app`."""
    path = urlsplit(report.siteurl).path.rstrip("/")
    pairs = [(f"{path}/{name}", f"/{name}") for name in ("wp-content", "wp-includes", "wp-admin") if path]
    content = str(report.constants.get("WP_CONTENT_URL") or "")
    shown = urlsplit(content).path.rstrip("/")
    place = "/" + place_of(report.roots, "content")
    if shown not in ("", place) and urlsplit(content).hostname == urlsplit(report.home).hostname:
        pairs += [(f"{shown}/{name}", f"{place}/{name}") for name in ("uploads", "themes", "plugins")]
    return pairs


def _sentence(counts: Counts) -> str:
    return (
        f"Copying tables: {counts.rows_done:,} of about {counts.rows_total:,} rows, "
        f"{counts.bytes_done / 1e6:,.1f} of about {counts.bytes_total / 1e6:,.1f} MB"
    )
