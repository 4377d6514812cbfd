"""How often each pass is made, in seconds."""

from __future__ import annotations

from datetime import timedelta

from workers.clone_databases import CloneDatabases
from workers.delete_plan import VERSION
from workers.maintenance.expire import Expiry
from workers.maintenance.prune import Prune
from workers.maintenance.release_kept import ReleaseKept
from workers.maintenance.sweep import Sweep
from workers.maintenance.sync_expiry import SyncExpiry
from workers.runtimes import Runtime
from wpclone.core.ids import Randomness
from wpclone.core.metrics import Metrics
from wpclone.core.secrets import KeyRing
from wpclone.core.settings import Sweeping
from wpclone.core.store import JobStore
from wpclone.core.supervise import Loop

JOBS_KEPT = timedelta(days=30)
"""How long finished jobs are kept, unless their clone lives."""


def schedule(
    store: JobStore, runtime: Runtime, databases: CloneDatabases, metrics: Metrics, randomness: Randomness, keys: KeyRing,
    sweeping: Sweeping,
) -> list[Loop]:  # fmt: skip
    """All loops but the relay, which every worker has."""
    expiry = Expiry(store, randomness, VERSION)
    return [
        Loop("expire", expiry.once, 2.0),
        Loop("sync_expiry", SyncExpiry(store, runtime).once, 2.0),
        Loop("release_kept", ReleaseKept(store, keys, randomness).once, 30.0),
        Loop("sweep", Sweep(store, runtime, databases, expiry, metrics, sweeping).once, 60.0),
        Loop("prune", Prune(store, JOBS_KEPT).once, 600.0),
    ]
