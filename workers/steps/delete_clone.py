"""The steps of a deletion: the clone's place first, so that nothing uses its database, then the database."""

from __future__ import annotations

from pathlib import Path

from workers.clone_databases import CloneDatabases
from workers.runtimes import Runtime
from workers.step import Done, StepContext
from workers.steps.copy_files import cursor_directory, forget_cursor
from wpclone.wordpress.blocking import blocking


class StopSite:
    """The step `stop_site`: stop and remove the clone's place with all its files. Nothing brings it back."""

    name = "stop_site"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def do(self, context: StepContext) -> Done:
        """Remove it."""
        await self._runtime.delete(context.clone_id)
        return Done()

    async def undo(self, context: StepContext) -> None:
        """A deletion is not undone; it is asked for again."""


class DropDatabase:
    """The step `drop_database`: drop the clone's database and user, what a copy left to resume by, and the runtime's record."""

    name = "drop_database"

    def __init__(self, databases: CloneDatabases, runtime: Runtime, work: Path) -> None:
        self._databases = databases
        self._runtime = runtime
        self._work = work

    async def do(self, context: StepContext) -> Done:
        """Drop them."""
        await self._databases.drop(context.clone_id)
        await blocking(forget_cursor, cursor_directory(self._work, context.clone_id))
        await self._runtime.forget(context.clone_id)
        return Done()

    async def undo(self, context: StepContext) -> None:
        """A deletion is not undone; it is asked for again."""
