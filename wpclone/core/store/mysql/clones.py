"""Clones in MySQL."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from datetime import datetime
from typing import Any

from wpclone.core.jobs.errors import CloneNotFound, CloneNotReady, StoreUnavailable
from wpclone.core.jobs.job import Clone, RequestKey
from wpclone.core.jobs.states import CloneState
from wpclone.core.store import Page
from wpclone.core.store.mysql.database import Duplicate, Session
from wpclone.core.store.mysql.part import Part
from wpclone.core.store.mysql.requests import answered, keep
from wpclone.core.store.mysql.rows import CLONE_COLUMNS, NOW, clone_from, naive

_SELECT = f"SELECT {CLONE_COLUMNS} FROM clones c"
_ONE = f"{_SELECT} WHERE c.clone_id = %(clone_id)s"
_EXTEND = f"""UPDATE clones SET expires_at = GREATEST(expires_at, %(expires_at)s), updated_at = {NOW}
  WHERE clone_id = %(clone_id)s AND state = 'ready' AND expires_at > {NOW}"""
_UNSYNCED = f"""{_SELECT} WHERE c.state = 'ready' AND (c.synced_expires_at IS NULL OR c.synced_expires_at < c.expires_at)
  ORDER BY c.expires_at, c.clone_id LIMIT %(most)s"""
_SYNCED = f"UPDATE clones SET synced_expires_at = %(expires_at)s, updated_at = {NOW} WHERE clone_id = %(clone_id)s"


class Clones(Part):
    """Clones and how long they live."""

    async def get_clone(self, clone_id: str) -> Clone | None:
        """See JobStore.get_clone."""
        (found,) = await self._db.read(_ONE, clone_id=clone_id)
        return clone_from(found.rows[0]) if found.rows else None

    async def list_clones(self, *, customer_id: str | None, page: Page, state: CloneState | None = None) -> list[Clone]:
        """See JobStore.list_clones."""
        wanted = ["c.state = %(state)s" if state is not None else "c.state <> 'deleted'"]
        if customer_id is not None:
            wanted.append("c.customer_id = %(customer_id)s")
        values: dict[str, Any] = {
            "customer_id": customer_id,
            "state": state.value if state is not None else None,
            "size": page.size,
        }
        if page.after is not None:
            wanted.append("c.created_at <= %(at)s AND (c.created_at < %(at)s OR c.clone_id < %(after)s)")
            values |= {"at": naive(page.after[0]), "after": page.after[1]}
        sql = f"{_SELECT} WHERE {' AND '.join(wanted)} ORDER BY c.created_at DESC, c.clone_id DESC LIMIT %(size)s"
        (found,) = await self._db.read(sql, **values)
        return [clone_from(row) for row in found.rows]

    async def extend_clone(self, clone_id: str, expires_at: datetime, *, key: RequestKey | None = None) -> Clone:
        """See JobStore.extend_clone."""

        async def work(session: Session) -> Clone:
            known = await answered(session, key)
            if known is not None:
                return await _clone_in(session, known)
            (extended,) = await session.run(_EXTEND, clone_id=clone_id, expires_at=naive(expires_at))
            clone = await _clone_in(session, clone_id)
            if not extended.matched:
                raise CloneNotReady
            await keep(session, key, clone_id)
            return clone

        for _ in range(2):
            try:
                return await self._db.transact(work)
            except Duplicate:
                continue  # another call with this key was first; its answer is there now
        raise StoreUnavailable

    async def unsynced_expiries(self, *, most: int) -> list[Clone]:
        """See JobStore.unsynced_expiries."""
        (found,) = await self._db.read(_UNSYNCED, most=most)
        return [clone_from(row) for row in found.rows]

    async def expiry_synced(self, clone_id: str, expires_at: datetime) -> None:
        """See JobStore.expiry_synced."""
        await self._db.read(_SYNCED, clone_id=clone_id, expires_at=naive(expires_at))


async def _clone_in(session: Session, clone_id: str) -> Clone:
    (found,) = await session.run(_ONE, clone_id=clone_id)
    if not found.rows:
        raise CloneNotFound
    return clone_from(found.rows[0])
