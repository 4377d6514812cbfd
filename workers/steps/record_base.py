"""Remember what the clone's rows are before anybody uses it: the base that a restore merges by."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from workers.clone_databases import CloneDatabases, base_name, database_name
from workers.merge.base import record_base, record_base_files
from workers.runtimes import Runtime, place_of
from workers.step import Done, StepContext
from workers.steps.copy_tables import CopyTables
from workers.steps.guard import Guard
from workers.steps.preflight import Preflight
from wpclone.core.jobs.errors import StepOutcome
from wpclone.wordpress.blocking import in_parts

_log = structlog.get_logger(__name__)

_SECONDS = 3600.0


class RecordBase:
    """The step `record_base`. Its effect goes with the clone's database. Without it a restore works, but cannot merge: so its
    failure is told in the result and fails no clone."""

    name = "record_base"

    def __init__(self, databases: CloneDatabases, runtime: Runtime) -> None:
        self._databases = databases
        self._runtime = runtime

    async def do(self, context: StepContext) -> Done:
        """Facts: `rows` and `files` of the base; none when there is no base, and why."""
        if Guard.name in context.facts:
            return Done({"why_not": "The clone was in use already."})
        prefix = context.facts[Preflight.name]["report"]["table_prefix"]
        tables = [table["name"] for table in context.facts[CopyTables.name]["tables"]]
        clone, base = database_name(context.clone_id), base_name(context.clone_id)
        try:
            async with self._databases.connection(seconds=_SECONDS) as cursor:
                rows = await record_base(cursor, clone, base, prefix, tables)
                place = await place_of(self._runtime, context.clone_id)
                found = await in_parts(_content_files(place.staging)) if place.staging is not None else []
                files = await record_base_files(cursor, base, found) if found else 0
        except StepOutcome as error:
            if not context.is_last_attempt:
                raise
            _log.warning("base.not_recorded", job_id=context.job.job_id, reason=error.code)
            return Done({"why_not": error.message})
        return Done({"rows": rows, "files": files})

    async def undo(self, context: StepContext) -> None:
        """Nothing is left once the clone's databases have gone."""


def _content_files(docroot: Path) -> Iterator[tuple[bytes, int, int]]:
    """The files below wp-content: path in the docroot, size, time of change. Links are not followed."""
    root = os.fsencode(docroot)
    for directory, _, names in os.walk(os.path.join(root, b"wp-content")):
        for name in names:
            path = os.path.join(directory, name)
            about = os.lstat(path)
            if stat.S_ISREG(about.st_mode):
                yield os.path.relpath(path, root), about.st_size, int(about.st_mtime)
