"""Trims finished jobs and old request ids, a little at a time, never those of live clones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog

from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

MOST = 500
"""Rows a pass: small transactions."""


@dataclass(frozen=True)
class Prune:
    """Deletes terminal jobs older than `older_than`."""

    store: JobStore
    older_than: timedelta

    async def once(self) -> None:
        """One pass. Raises StoreUnavailable."""
        pruned = await self.store.prune(older_than=self.older_than, most=MOST)
        if pruned:
            _log.info("jobs.pruned", jobs=pruned)
