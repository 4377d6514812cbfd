"""From an ask to a recorded job: new ids, encrypted secrets, the idempotency key; then a ring. No work starts here."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from server.retry import again
from server.ringer import Ringer
from server.translate import CloneAsk, ExtendAsk
from wpclone.core.ids import Randomness, new_job_id
from wpclone.core.jobs.errors import CloneNotFound, JobNotRetryable
from wpclone.core.jobs.job import Clone, Job, NewClone, NewJob, RequestKey
from wpclone.core.jobs.site_key import site_key
from wpclone.core.jobs.states import CloneState, JobKind
from wpclone.core.secrets import KeyRing
from wpclone.core.store import JobStore

CLONE_RUNS_FOR = timedelta(hours=6)
"""The deadline of a clone job, counted from its acceptance."""
DELETE_RUNS_FOR = timedelta(hours=2)
"""The deadline of a delete job."""
CLONE_VERSION = 3
"""The version of the plan that new clone jobs are pinned to; workers keep the plans of older ones beside it."""
DEFINITION_VERSION = 1
"""The same for delete jobs."""
_CLONE_HOST = re.compile(r"clone-[0-9a-f]{12}(?=\.)")


@dataclass(frozen=True)
class Accept:
    """Records what is asked for. `runtime` is where this installation's clones live."""

    store: JobStore
    ringer: Ringer
    keys: KeyRing
    randomness: Randomness
    runtime: str

    async def clone(self, ask: CloneAsk, customer_id: str) -> Job:
        """A clone job and its clone. Raises RequestIdReused, LimitReached, CustomerNotFound, StoreUnavailable; CloneNotReady when
        its source is a clone of ours that ends in this moment."""
        clone_id = new_job_id(JobKind.CLONE, self.randomness)
        key = self.key(customer_id, "CreateClone", ask.request_id, _meaning(ask))
        job = await self._accept_clone(self._clone_job(ask, customer_id, clone_id), key)
        self.ringer.publish(job)
        return job

    async def delete(self, clone: Clone, request_id: str) -> Job:
        """The job that ends a clone. Raises CloneNotFound, RequestIdReused, StoreUnavailable."""
        new = NewJob(
            job_id=new_job_id(JobKind.DELETE, self.randomness),
            kind=JobKind.DELETE,
            customer_id=clone.customer_id,
            request={"clone_id": clone.clone_id},
            secrets=None,
            definition_version=DEFINITION_VERSION,
            run_for=DELETE_RUNS_FOR,
            clone_id=clone.clone_id,
        )
        key = self.key(clone.customer_id, "DeleteClone", request_id, {"clone_id": clone.clone_id})
        job = await self.store.begin_delete(new, key=key)
        self.ringer.publish(job)
        return job

    async def cancel(self, job: Job, request_id: str) -> Job:
        """The job, cancelled or asked to. Raises JobFinished, WrongState, RequestIdReused, StoreUnavailable."""
        key = self.key(job.customer_id, "CancelJob", request_id, {"job_id": job.job_id})
        cancelled = await self.store.request_cancel(job.job_id, key=key)
        self.ringer.publish(cancelled)
        return cancelled

    async def retry(self, old: Job, request_id: str) -> Job:
        """A new job that does a failed or cancelled one again. Raises JobNotRetryable, RequestIdReused, LimitReached,
        StoreUnavailable; of a restore CloneNotFound, CloneNotReady, SiteBusy."""
        key = self.key(old.customer_id, "RetryJob", request_id, {"job_id": old.job_id})
        new = again(old, self.keys, self.randomness)
        if new.kind is JobKind.DELETE:
            job = await self._delete_again(new, key)
        elif new.kind is JobKind.RESTORE:
            job = await self.store.begin_restore(new, site_key=site_key(new.request["target_url"]), key=key)
        else:
            job = await self._accept_clone(new, key)
        self.ringer.publish(job)
        return job

    async def extend(self, clone: Clone, ask: ExtendAsk) -> Clone:
        """The clone with its later end. Raises CloneNotReady, CloneNotFound, RequestIdReused, StoreUnavailable."""
        meaning = {"clone_id": ask.clone_id, "expires_at": ask.expires_at.isoformat()}
        key = self.key(clone.customer_id, "ExtendClone", ask.request_id, meaning)
        return await self.store.extend_clone(ask.clone_id, ask.expires_at, key=key)

    def _clone_job(self, ask: CloneAsk, customer_id: str, clone_id: str) -> NewJob:
        secrets = {"seed": self.randomness(32).hex(), "source": dict(ask.source.secrets)}
        return NewJob(
            job_id=clone_id,
            kind=JobKind.CLONE,
            customer_id=customer_id,
            request={
                "source_url": ask.source.url,
                "source_kind": ask.source.kind,
                "ttl_minutes": ask.ttl_minutes,
                "keep_constants": list(ask.keep_constants),
                "exclude_paths": list(ask.exclude_paths),
                "exclude_tables": list(ask.exclude_tables),
                **({"dry_run": True} if ask.dry_run else {}),
            },
            secrets=self.keys.seal(secrets, clone_id),
            definition_version=CLONE_VERSION,
            run_for=CLONE_RUNS_FOR,
            priority=ask.priority,
            clone_id=None if ask.dry_run else clone_id,
        )

    async def _accept_clone(self, asked: NewJob, key: RequestKey | None) -> Job:
        """The clone job, and the clone it is to make; a dry run makes none. A clone of ours that it copies is held for it."""
        new = replace(asked, reads_clone=await self._source_clone(asked))
        if new.clone_id is None:
            return await self.store.accept(new, key=key)
        clone = NewClone(
            clone_id=new.job_id,
            customer_id=new.customer_id,
            runtime=self.runtime,
            source_url=new.request["source_url"],
            ttl=timedelta(minutes=new.request["ttl_minutes"]),
            guard_key=self.keys.encrypt(self.randomness(32), new.job_id),
        )
        return await self.store.accept(new, key=key, clone=clone)

    async def _source_clone(self, new: NewJob) -> str | None:
        """The customer's ready clone that is the job's source, if it is one: clones live at hosts that begin with their id."""
        url = new.request["source_url"]
        named = _CLONE_HOST.match(urlsplit(url).hostname or "")
        clone = await self.store.get_clone(named[0]) if named else None
        if clone is None or clone.customer_id != new.customer_id or clone.state is not CloneState.READY:
            return None
        return clone.clone_id if site_key(clone.url) == site_key(url) else None

    async def _delete_again(self, new: NewJob, key: RequestKey | None) -> Job:
        try:
            return await self.store.begin_delete(new, key=key)
        except CloneNotFound as error:
            raise JobNotRetryable("The clone has gone already.", metadata={"type": new.kind.value}) from error

    def key(self, customer_id: str, method: str, request_id: str, meaning: dict[str, Any]) -> RequestKey | None:
        """None without a request id. The hash is of what the request means, so both spellings of a source are one body."""
        if not request_id:
            return None
        body = json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode()
        return RequestKey(customer_id, method, request_id, self.keys.request_hash(body))


def _meaning(ask: CloneAsk) -> dict[str, Any]:
    source = {"kind": ask.source.kind, "url": ask.source.url, "secrets": dict(ask.source.secrets)}
    return {**said(ask), "source": source, "request_id": "", "customer_id": ""}


def said(ask: Any) -> dict[str, Any]:
    """The fields of an ask (a dataclass) that differ from saying nothing: a field that a later version adds must not make the
    same body another one in the days after a deployment, so it is added with a default."""
    return {f.name: getattr(ask, f.name) for f in fields(ask) if f.default is MISSING or getattr(ask, f.name) != f.default}
