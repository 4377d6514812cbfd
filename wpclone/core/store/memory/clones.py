"""Clones in memory."""

from __future__ import annotations

from datetime import datetime

from wpclone.core.jobs.errors import CloneNotFound, CloneNotReady
from wpclone.core.jobs.job import Clone, RequestKey
from wpclone.core.jobs.states import CloneState
from wpclone.core.store import Page
from wpclone.core.store.memory.shelves import Part


class Clones(Part):
    """Clones and how long they live."""

    async def get_clone(self, clone_id: str) -> Clone | None:
        """See JobStore.get_clone."""
        self._shelves.now()
        return self._shelves.clones.get(clone_id)

    async def list_clones(self, *, customer_id: str | None, page: Page, state: CloneState | None = None) -> list[Clone]:
        """See JobStore.list_clones."""
        self._shelves.now()
        wanted = [
            clone
            for clone in self._shelves.clones.values()
            if (customer_id is None or clone.customer_id == customer_id)
            and (clone.state is state if state is not None else clone.state is not CloneState.DELETED)
            and (page.after is None or (clone.created_at, clone.clone_id) < page.after)
        ]
        wanted.sort(key=lambda clone: (clone.created_at, clone.clone_id), reverse=True)
        return wanted[: page.size]

    async def extend_clone(self, clone_id: str, expires_at: datetime, *, key: RequestKey | None = None) -> Clone:
        """See JobStore.extend_clone."""
        shelves, now = self._shelves, self._shelves.now()
        known = shelves.answered(key)
        if known is not None and known in shelves.clones:
            return shelves.clones[known]
        clone = shelves.clones.get(clone_id)
        if clone is None:
            raise CloneNotFound
        if clone.state is not CloneState.READY or clone.expires_at is None or clone.expires_at <= now:
            raise CloneNotReady
        shelves.change_clone(clone_id, now, expires_at=max(clone.expires_at, expires_at))
        shelves.remember(key, clone_id)
        return shelves.clones[clone_id]

    async def unsynced_expiries(self, *, most: int) -> list[Clone]:
        """See JobStore.unsynced_expiries."""
        self._shelves.now()
        wanted = [
            clone
            for clone in self._shelves.clones.values()
            if clone.state is CloneState.READY
            and clone.expires_at is not None
            and (clone.synced_expires_at is None or clone.synced_expires_at < clone.expires_at)
        ]
        return sorted(wanted, key=lambda clone: (clone.expires_at, clone.clone_id))[:most]

    async def expiry_synced(self, clone_id: str, expires_at: datetime) -> None:
        """See JobStore.expiry_synced."""
        self._shelves.change_clone(clone_id, self._shelves.now(), synced_expires_at=expires_at)
