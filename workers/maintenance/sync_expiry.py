"""Carries new expiries to the runtime: of clones that have just become ready, and of those that were extended."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from workers.runtimes import Runtime
from wpclone.core.jobs.errors import StepOutcome
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 50
"""Clones a pass."""


@dataclass(frozen=True)
class SyncExpiry:
    """Tells the runtime what `clones.expires_at` says."""

    store: JobStore
    runtime: Runtime

    async def once(self) -> None:
        """One pass; a clone that fails is tried again in the next. Raises StoreUnavailable."""
        for clone in await self.store.unsynced_expiries(most=MOST):
            if clone.runtime != self.runtime.name or clone.expires_at is None:
                continue
            try:
                await self.runtime.extend(clone.clone_id, clone.expires_at)
            except StepOutcome as error:
                _log.warning("expiry.not_synced", clone_id=clone.clone_id, reason=error.code, error=error.message)
                continue
            await self.store.expiry_synced(clone.clone_id, clone.expires_at)
