"""The job store's promises. `mysql` and `memory` keep them, and tests/contract judges both.

MySQL is the truth. Each method is one transaction: all of it or nothing. Times are the database's clock, read back as
aware UTC. Every method raises StoreUnavailable when the store does not answer in time, never a driver's exception.
A lost reply to a commit is an unknown outcome: StoreUnavailable too, and a repeat with the same key is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from wpclone.core.jobs.job import (
    Claim,
    Clone,
    Customer,
    Job,
    Limits,
    NewClone,
    NewJob,
    Principal,
    Renewal,
    RequestKey,
    Ring,
    Token,
)
from wpclone.core.jobs.states import CloneState, JobKind, JobState, KeptState, Priority
from wpclone.core.jobs.transitions import Transition

LEASE = timedelta(seconds=15)
"""How long a claim lasts without renewal."""

FIRST_RING = timedelta(seconds=2)
"""How long after acceptance the relay leaves the ring to whoever accepted."""

RING_AGAIN = timedelta(seconds=30)
"""How long a ring may stay without effect before the relay rings again."""

REQUESTS_KEPT = timedelta(days=7)
"""How long a request_id gives the same answer."""

KEPT_AGAIN = timedelta(hours=1)
"""How much longer the old content of a site is kept, at least, when a rollback or a release of it failed."""

PAST_RUNS = 40
"""How many completed jobs `past_runs` looks at."""

LIVE = frozenset({CloneState.CREATING, CloneState.READY, CloneState.DELETING})
"""Clones that hold resources and count against a customer's limit."""

GONE = frozenset(CloneState) - LIVE
"""Clones of which nothing is left."""

PRIORITY_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
"""Which of a customer's jobs goes first."""

CANCELLED_EARLY = "Cancelled before it started."

MESSAGE_KEPT = 2000
"""How many characters of a status message are kept."""


def clip(message: str) -> str:
    """A status message as long as it is kept."""
    return message if len(message) <= MESSAGE_KEPT else message[: MESSAGE_KEPT - 1] + "…"


@dataclass(frozen=True)
class PastRun:
    """What a completed job took: seconds by step, and the bytes of the site's content (a step's fact `site_bytes`), if known."""

    seconds: Mapping[str, float]
    site_bytes: int | None = None


@dataclass(frozen=True)
class Page:
    """Where a listing goes on: strictly after (created_at, id), newest first; `size` rows at most."""

    size: int
    after: tuple[datetime, str] | None = None


@dataclass(frozen=True)
class QueueDepth:
    """What a scaler needs: jobs that may run now, jobs running, and the age of the oldest runnable in seconds."""

    runnable: int
    running: int
    oldest_seconds: float


@dataclass(frozen=True)
class Share:
    """A customer's jobs of one priority: how many may run now and wait, but for those its cap holds back, and how many run."""

    customer_id: str
    priority: Priority
    waiting: int
    running: int


class JobStore(Protocol):
    """Jobs, claims, clones, customers and tokens, kept."""

    async def accept(self, new: NewJob, *, key: RequestKey | None = None, clone: NewClone | None = None) -> Job:
        """Record a job, its clone and its request id in one transaction; `rung_until` = now + 2 s.

        The same key with the same body returns the first job. `new.reads_clone`, if any, has to be ready; it does not expire and
        is not deleted before the job ends. Raises RequestIdReused, LimitReached (live clones, requests per minute),
        CustomerNotFound, CloneNotFound, CloneNotReady.
        """

    async def begin_delete(self, new: NewJob, *, key: RequestKey | None = None) -> Job:
        """`ready|failed → deleting` of `new.clone_id` and its delete job, one transaction; creating: the clone job is asked
        to cancel and returned instead. A clone that is deleting gives its running delete job. Raises CloneNotFound
        (also for `deleted` clones and other customers' when `new.customer_id` differs), CloneInUse while a job reads it."""

    async def begin_restore(self, new: NewJob, *, site_key: str, key: RequestKey | None = None) -> Job:
        """Record a job that alone may write the site `site_key` until it ends. `new.clone_id`, if any, has to be ready; it does
        not expire and is not deleted before the job ends.

        Raises CloneNotFound (also for another customer's), CloneNotReady, SiteBusy, and what `accept` raises.
        """

    async def begin_leaving(
        self, new: NewJob, *, of: str, becomes: KeptState, site_key: str, key: RequestKey | None = None
    ) -> Job:
        """`kept → leaving` of what the restore `of` put aside, and the job that takes it back (`becomes` ROLLED_BACK) or drops
        it (RELEASED), one transaction. It becomes that when the job completes; when it does not, it is kept again, an hour at
        least.

        Raises NothingKept, SiteBusy, and what `accept` raises.
        """

    async def kept_state(self, job_id: str) -> KeptState | None:
        """Where the old content is that this restore put aside; None when it put nothing aside."""

    async def kept_due(self, *, most: int) -> list[Job]:
        """Up to `most` restores whose old content has been kept long enough, the longest due first."""

    async def expire_due(self, make: NewJobFor, *, most: int) -> list[Job]:
        """Begin the deletion of up to `most` ready clones whose `expires_at` is past, one transaction each; not of those that an
        unfinished job reads."""

    async def get_job(self, job_id: str) -> Job | None:
        """The job with its steps, or None."""

    async def get_jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Many jobs with their steps, by id, in one read; unknown ids are absent."""

    async def list_jobs(
        self, *, customer_id: str | None, page: Page, state: JobState | None = None, kind: JobKind | None = None
    ) -> list[Job]:
        """Newest first, without steps; `customer_id` None lists everybody's."""

    async def claim(self, job_id: str, *, worker: str) -> Claim | None:
        """Take a job that is `pending` and due, or `running` with its lease over; None when it is not claimable now.

        Counts a lapse when the lease had ended. A pending job past its deadline is claimable too: the claim judges it. Over
        the customer's cap of running jobs: None, and the job waits; deletions and jobs to be undone never wait for it.
        """

    async def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """Prolong the leases of these jobs (id → fence) in one statement, expired or not, while the fence is still ours.

        Jobs missing from the answer are lost.
        """

    async def claims_of(self, worker: str) -> dict[str, int]:
        """The jobs this worker holds as the store sees it, leases over or not: id → fence."""

    async def apply(self, transition: Transition) -> Job:
        """One guarded UPDATE, `revision + 1`, with step, clone and claim in the same transaction. Raises StaleClaim when the
        fence or state moved on, or `forbids_cancel` met a cancel request (then error metadata has cancel_requested=true).
        A job of this customer that waited for the cap is made due when `releases`."""

    async def request_cancel(self, job_id: str, *, key: RequestKey | None = None) -> Job:
        """Never claimed: `cancelled` at once (its clone `failed`). Else note it once, `rung_until` = now. Terminal: raises
        JobFinished unless it is `cancelled` already. A deletion cannot be cancelled: WrongState. Raises JobNotFound."""

    async def due(self, *, per_customer: int, most: int, quiet: timedelta) -> list[Ring]:
        """Guardedly mark and return jobs to ring: `rung_until < now` and pending and due, or running with the lease over for
        longer than `quiet`, or pending past `deadline_at`. At most `per_customer` of one customer, customers in turns. Each
        gets `enqueue_seq + 1`, `rung_until = now + 30 s`. A running one is rung as high: it was begun, and must not wait behind
        all that was not."""

    async def unring(self, job_ids: Sequence[str]) -> None:
        """The publish failed: `rung_until` back to now."""

    async def ring_all_again(self) -> int:
        """The stream was made anew: `rung_until = now` for all jobs that should run; how many."""

    async def shares(self) -> list[Share]:
        """Who waits and who runs; customers and priorities without either are left out."""

    async def next_waiting(self, customer_id: str, priority: Priority, *, but: Sequence[str]) -> str | None:
        """The customer's job of this priority that waits longest, or None; not one of `but`, and none that its cap holds back."""

    async def get_clone(self, clone_id: str) -> Clone | None:
        """The clone, or None."""

    async def list_clones(self, *, customer_id: str | None, page: Page, state: CloneState | None = None) -> list[Clone]:
        """Newest first; `deleted` ones only when asked for."""

    async def extend_clone(self, clone_id: str, expires_at: datetime, *, key: RequestKey | None = None) -> Clone:
        """Guarded by `state = ready AND expires_at > now`; never shortens. Raises CloneNotReady, CloneNotFound."""

    async def unsynced_expiries(self, *, most: int) -> list[Clone]:
        """Ready clones whose runtime has not been told their `expires_at` yet."""

    async def expiry_synced(self, clone_id: str, expires_at: datetime) -> None:
        """The runtime knows this `expires_at` now."""

    async def past_runs(self, kind: JobKind) -> list[PastRun]:
        """The last 40 completed jobs of this kind, newest first, but for those of which no step was recorded."""

    async def queue_depth(self) -> QueueDepth:
        """For metrics and autoscaling."""

    async def needs_attention(self) -> int:
        """How many jobs ended with an undo that gave up."""

    async def attended(self, job_id: str) -> Job:
        """Somebody has looked at what an undo left: the job no longer needs attention. Harmless when it doesn't. Raises
        JobNotFound."""

    async def prune(self, *, older_than: timedelta, most: int) -> int:
        """Delete up to `most` terminal jobs older than that, and old requests; never jobs of a clone that still lives (only
        `deleted` and `failed` ones do not), of restores whose old content is kept, nor those that need attention. How many."""

    async def create_customer(self, customer_id: str, limits: Limits) -> Customer:
        """Make a customer, or return the one there is."""

    async def get_customer(self, customer_id: str) -> Customer | None:
        """The customer, or None."""

    async def set_limits(self, customer_id: str, limits: Limits) -> Customer:
        """Replace a customer's limits. Raises CustomerNotFound."""

    async def add_token(self, token_hash: bytes, principal: Principal) -> None:
        """Keep the hash of a new bearer token. Raises CustomerNotFound."""

    async def tokens(self, *, customer_id: str | None) -> list[Token]:
        """The tokens of a customer, or all; oldest first."""

    async def withdraw_token(self, token_id: str) -> None:
        """A token speaks for nobody any more. Raises TokenNotFound."""

    async def who(self, token_hash: bytes) -> Principal | None:
        """Whom a token speaks for, or None."""

    async def now(self) -> datetime:
        """The store's clock; also the check that it answers."""

    async def close(self) -> None:
        """Give connections back; idempotent."""


class NewJobFor(Protocol):
    """How `expire_due` makes a delete job for a clone (ids and versions come from the caller)."""

    def __call__(self, clone: Clone) -> NewJob:
        """The delete job of this clone."""
