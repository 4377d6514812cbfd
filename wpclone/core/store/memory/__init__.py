"""The job store in memory: the promises of `core.store`, kept by one process, gone with it.

For unit tests of the server and the workers, and judged by the same contract suite as MySQL. Its clock is passed in, and
`fail_with` makes it an outage.
"""

from __future__ import annotations

from datetime import datetime

from wpclone.core.clock import Clock
from wpclone.core.store.memory.accepting import Accepting
from wpclone.core.store.memory.changes import Changes
from wpclone.core.store.memory.clones import Clones
from wpclone.core.store.memory.customers import Customers
from wpclone.core.store.memory.reads import Reads
from wpclone.core.store.memory.restores import Restores
from wpclone.core.store.memory.rings import Rings
from wpclone.core.store.memory.shelves import Shelves


class MemoryStore(Accepting, Restores, Changes, Rings, Clones, Customers, Reads):
    """A JobStore of dictionaries. No method awaits, so each is one step of the event loop and hence atomic."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Shelves(clock))

    def fail_with(self, error: Exception | None) -> None:
        """Raise this from every call until told None: an outage, for tests."""
        self._shelves.outage = error

    async def now(self) -> datetime:
        """The injected clock's time."""
        return self._shelves.now()

    async def close(self) -> None:
        """Nothing to give back."""
