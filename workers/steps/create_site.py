"""Make the clone's place in the runtime: nothing is served yet.

It comes up while the steps after this one copy: they watch it (`workers.coming_place`), and `guard` waits for it.
"""

from __future__ import annotations

from workers.runtimes import Runtime
from workers.step import Done, StepContext


class CreateSite:
    """The step `create_site`. Its undo removes the whole place."""

    name = "create_site"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def do(self, context: StepContext) -> Done:
        """Facts: url, docroot, egress."""
        return Done((await self._runtime.create(context.clone_id)).to_json())

    async def undo(self, context: StepContext) -> None:
        """Remove it with all its content."""
        await self._runtime.delete(context.clone_id)
