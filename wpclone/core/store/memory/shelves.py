"""What the in-memory store keeps, and the few questions all its parts ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import CustomerNotFound, RequestIdReused
from wpclone.core.jobs.job import Clone, Customer, Job, NewClone, NewJob, RequestKey, Step, Token
from wpclone.core.jobs.states import CloneState, JobKind, KeptState
from wpclone.core.store import FIRST_RING, KEPT_AGAIN, REQUESTS_KEPT


@dataclass
class Kept:
    """A job and what only the relay and the cap look at."""

    job: Job
    rung_until: datetime
    reads_clone: str | None
    waits_for_cap: bool = False

    def change(self, now: datetime, **values: Any) -> Job:
        """The job at its next revision."""
        self.job = replace(self.job, revision=self.job.revision + 1, updated_at=now, **values)
        return self.job


@dataclass
class Lease:
    """One row of `claims`."""

    worker: str
    fence: int
    until: datetime


@dataclass
class Aside:
    """One row of `kept_sets`: what a restore put aside at its target."""

    site_key: str
    since: datetime
    until: datetime
    state: KeptState = KeptState.KEPT
    becomes: KeptState | None = None
    leaving_by: str | None = None


@dataclass
class Asked:
    """One row of `requests`: what the first request with this id got."""

    body_hash: bytes
    resource_id: str
    at: datetime


@dataclass
class Shelves:
    """All tables."""

    clock: Clock
    outage: Exception | None = None
    jobs: dict[str, Kept] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    clones: dict[str, Clone] = field(default_factory=dict)
    sites: dict[str, str] = field(default_factory=dict)
    aside: dict[str, Aside] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], Asked] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    tokens: dict[bytes, Token] = field(default_factory=dict)

    def now(self) -> datetime:
        """The time, unless there is an outage."""
        if self.outage is not None:
            raise self.outage
        return self.clock.now()

    def customer(self, customer_id: str) -> Customer:
        """Raises CustomerNotFound."""
        try:
            return self.customers[customer_id]
        except KeyError:
            raise CustomerNotFound from None

    def answered(self, key: RequestKey | None) -> str | None:
        """The resource that the first request with this key got. Raises RequestIdReused."""
        if key is None:
            return None
        asked = self.requests.get((key.customer_id, key.method, key.request_id))
        if asked is None or asked.at <= self.now() - REQUESTS_KEPT:
            return None
        if asked.body_hash != key.body_hash:
            raise RequestIdReused
        return asked.resource_id

    def remember(self, key: RequestKey | None, resource_id: str) -> None:
        """Keep what this key got."""
        if key is not None:
            self.requests[key.customer_id, key.method, key.request_id] = Asked(key.body_hash, resource_id, self.now())

    def add_job(self, new: NewJob, now: datetime) -> Job:
        """Put a new pending job on the shelf."""
        job = new.accepted(now)
        self.jobs[new.job_id] = Kept(job, now + FIRST_RING, new.clone_id if new.kind is JobKind.RESTORE else new.reads_clone)
        return job

    def add_clone(self, new: NewClone, now: datetime) -> None:
        """Put a clone that is being created on the shelf."""
        self.clones[new.clone_id] = Clone(
            clone_id=new.clone_id, customer_id=new.customer_id, state=CloneState.CREATING, runtime=new.runtime,
            source_url=new.source_url, url="", ttl=new.ttl, created_at=now, updated_at=now, guard_key=new.guard_key,
        )  # fmt: skip

    def change_clone(self, clone_id: str | None, now: datetime, **values: Any) -> None:
        """Set fields of a clone; nothing when there is none."""
        if clone_id is not None and clone_id in self.clones:
            self.clones[clone_id] = replace(self.clones[clone_id], updated_at=now, **values)

    def unlock_sites(self, job_id: str, *, is_completed: bool, now: datetime) -> None:
        """This job ended: it writes no site any more, and what it was to take back or drop is gone, or kept again."""
        for site_key in [site_key for site_key, holder in self.sites.items() if holder == job_id]:
            del self.sites[site_key]
        for aside in self.aside.values():
            if aside.leaving_by == job_id and aside.state is KeptState.LEAVING and aside.becomes is not None:
                aside.state = aside.becomes if is_completed else KeptState.KEPT
                aside.until = aside.until if is_completed else max(aside.until, now + KEPT_AGAIN)

    def is_read(self, clone_id: str) -> bool:
        """Whether an unfinished job reads this clone."""
        return any(kept.reads_clone == clone_id and not kept.job.state.is_terminal for kept in self.jobs.values())

    def lease_is_over(self, job_id: str, now: datetime) -> bool:
        """Whether nobody holds the job now."""
        lease = self.leases.get(job_id)
        return lease is None or lease.until < now


class Part:
    """What all parts of the store share."""

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves


def with_step(steps: tuple[Step, ...], step: Step, now: datetime) -> tuple[Step, ...]:
    """The history with this step's row written, by position; times by the clock, old facts and errors kept."""
    old = next((s for s in steps if s.name == step.name), None)
    written = step_written(old, step, now)
    return tuple(sorted([s for s in steps if s.name != step.name] + [written], key=lambda s: s.position))


def step_written(old: Step | None, step: Step, now: datetime) -> Step:
    """One row as the store keeps it: started once, finished when it ended, facts and last error kept unless replaced."""
    is_over = step.finishes
    return replace(
        step,
        started_at=old.started_at if old is not None else now,
        finished_at=now if is_over else None,
        last_error=step.last_error or (old.last_error if old is not None else None),
        facts=dict(step.facts) or (dict(old.facts) if old is not None else {}),
    )
