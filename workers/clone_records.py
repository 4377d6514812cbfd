"""What the service keeps of a job's clone: its record, and the guard key it was made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from workers.job_secrets import Decrypter
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Clone
from wpclone.core.secrets import SecretsUnreadable


class Clones(Protocol):
    """Reads clones; the job store does."""

    async def get_clone(self, clone_id: str) -> Clone | None:
        """See `JobStore.get_clone`."""


@dataclass(frozen=True)
class CloneRecords:
    """Reads both for the steps."""

    clones: Clones
    keys: Decrypter

    async def get(self, clone_id: str) -> Clone:
        """The clone, which still has its guard key. Raises Fatal(CLONE_GONE), StoreUnavailable."""
        clone = await self.clones.get_clone(clone_id)
        if clone is None or clone.guard_key is None:
            raise Fatal("CLONE_GONE", "The clone has gone.")
        return clone

    def guard_key(self, clone: Clone) -> bytes:
        """The key in the clear, of a clone that `get` gave. Raises Fatal(SECRETS_UNREADABLE)."""
        try:
            return self.keys.decrypt(clone.guard_key or b"", clone.clone_id)
        except SecretsUnreadable as error:
            raise Fatal("SECRETS_UNREADABLE", "The clone's guard key cannot be read with this service's key ring.") from error
