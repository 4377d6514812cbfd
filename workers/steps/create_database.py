"""Make the clone's database and its user on the clones' MySQL."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.runtimes import Runtime
from workers.step import Done, StepContext


class CreateDatabase:
    """The step `create_database`. Its undo drops both, and with them goes the last that the runtime kept of the clone."""

    name = "create_database"

    def __init__(self, databases: CloneDatabases, runtime: Runtime) -> None:
        self._databases = databases
        self._runtime = runtime

    async def do(self, context: StepContext) -> Done:
        """Facts: `database`. The password derives from the job's seed."""
        return Done({"database": await self._databases.create(context.clone_id, context.secrets.database_password)})

    async def undo(self, context: StepContext) -> None:
        """Drop database and user."""
        await self._databases.drop(context.clone_id)
        await self._runtime.forget(context.clone_id)
