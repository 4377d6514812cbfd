"""From a restore that is asked for, or one that is to be taken back or dropped, to a recorded job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from server.accept import Accept, said
from server.restore_ask import RestoreAsk
from server.site_access import Source
from wpclone.core.ids import new_job_id
from wpclone.core.jobs.errors import NothingKept
from wpclone.core.jobs.job import Job, NewJob
from wpclone.core.jobs.site_key import site_key
from wpclone.core.jobs.states import JobKind, JobState, KeptState
from wpclone.core.kept_sets import RESTORE_VERSION, leaving_job

RESTORE_RUNS_FOR = timedelta(hours=12)
"""The deadline of a restore, counted from its acceptance."""


@dataclass(frozen=True)
class Restoring:
    """Records restore jobs, with what `Accept` records jobs with."""

    accept: Accept

    async def create(self, ask: RestoreAsk, customer_id: str) -> Job:
        """A restore. Raises CloneNotFound, CloneNotReady, SiteBusy, RequestIdReused, LimitReached, CustomerNotFound,
        StoreUnavailable."""
        on, job_id = self.accept, new_job_id(JobKind.RESTORE, self.accept.randomness)
        secrets = {
            "seed": on.randomness(32).hex(),
            "source": dict(ask.source.secrets) if ask.source is not None else {},
            "target": dict(ask.target.secrets),
        }
        request: dict[str, Any] = {"target_url": ask.target.url, "target_kind": ask.target.kind, **ask.choices()}
        if ask.source is not None:
            request |= {"source_url": ask.source.url, "source_kind": ask.source.kind}
        new = NewJob(
            job_id=job_id,
            kind=JobKind.RESTORE,
            customer_id=customer_id,
            request=request,
            secrets=on.keys.seal(secrets, job_id),
            definition_version=RESTORE_VERSION,
            run_for=RESTORE_RUNS_FOR,
            clone_id=ask.clone_id or None,
        )
        key = on.key(customer_id, "CreateRestore", ask.request_id, _meaning(ask))
        job = await on.store.begin_restore(new, site_key=site_key(ask.target.url), key=key)
        on.ringer.publish(job)
        return job

    async def leave(self, restore: Job, becomes: KeptState, request_id: str) -> Job:
        """The job that takes back or drops what a restore replaced. Raises NothingKept, SiteBusy, RequestIdReused,
        SecretsUnreadable, StoreUnavailable."""
        if restore.kind is not JobKind.RESTORE or restore.state is not JobState.COMPLETED or "action" in restore.request:
            raise NothingKept("This is no completed restore, so nothing is kept of the site's content from before.")
        on = self.accept
        method = "RollbackRestore" if becomes is KeptState.ROLLED_BACK else "ReleaseRestore"
        key = on.key(restore.customer_id, method, request_id, {"job_id": restore.job_id})
        new = leaving_job(restore, becomes, on.keys, on.randomness)
        job = await on.store.begin_leaving(
            new, of=restore.job_id, becomes=becomes, site_key=site_key(restore.request["target_url"]), key=key
        )
        on.ringer.publish(job)
        return job


def _meaning(ask: RestoreAsk) -> dict[str, Any]:
    """What the ask means: both spellings of a site are one, and a later version's field says nothing until it is set."""
    sites = {"source": _site(ask.source), "target": _site(ask.target)}
    return {**said(ask), **sites, "request_id": "", "customer_id": ""}


def _site(site: Source | None) -> dict[str, Any] | None:
    return None if site is None else {"kind": site.kind, "url": site.url, "secrets": dict(site.secrets)}
