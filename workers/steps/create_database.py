"""Make the clone's database and its user on the clones' MySQL."""

from __future__ import annotations

from workers.clone_databases import CloneDatabases
from workers.step import Done, StepContext


class CreateDatabase:
    """The step `create_database`. Its undo drops both."""

    name = "create_database"

    def __init__(self, databases: CloneDatabases) -> None:
        self._databases = databases

    async def do(self, context: StepContext) -> Done:
        """Facts: `database`. The password derives from the job's seed."""
        return Done({"database": await self._databases.create(context.clone_id, context.secrets.database_password)})

    async def undo(self, context: StepContext) -> None:
        """Drop database and user."""
        await self._databases.drop(context.clone_id)
