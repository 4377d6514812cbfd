"""The values the whole service talks about: jobs, steps, claims, clones, customers. Frozen, aware UTC times, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from wpclone.core.jobs.states import CloneState, JobKind, JobState, Priority, StepState, Verdict

Facts = Mapping[str, Any]
"""What a step found or made: JSON values only, no secrets."""


@dataclass(frozen=True)
class JobError:
    """Why a job failed: one sentence for people, a reason for programs, the step it happened in."""

    message: str
    reason: str
    step: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One row of a job's history."""

    name: str
    position: int
    state: StepState
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    last_error: JobError | None = None
    facts: Facts = field(default_factory=dict)

    @property
    def finishes(self) -> bool:
        """Whether a row in this state has an end; the store sets the times, by its own clock."""
        return self.state in {StepState.DONE, StepState.FAILED, StepState.UNDONE}


@dataclass(frozen=True)
class Job:
    """One asked-for operation at one revision. `request` and `result` hold no secrets; those are in `secrets`, encrypted."""

    job_id: str
    kind: JobKind
    state: JobState
    customer_id: str
    priority: Priority
    revision: int
    fence: int
    enqueue_seq: int
    definition_version: int
    request: Facts
    created_at: datetime
    updated_at: datetime
    deadline_at: datetime
    next_run_at: datetime
    clone_id: str | None = None
    progress: int = 0
    status_message: str = ""
    attempt: int = 0
    lapses: int = 0
    verdict: Verdict | None = None
    error: JobError | None = None
    result: Facts | None = None
    secrets: bytes | None = None
    completed_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    estimated_completion: datetime | None = None
    retry_of: str | None = None
    needs_attention: bool = False
    traceparent: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def is_to_be_undone(self) -> bool:
        """Whether whoever claims it only undoes."""
        return self.verdict is not None or self.cancel_requested_at is not None


@dataclass(frozen=True)
class NewJob:
    """What `accept` writes. `secrets` is ciphertext; `run_for` is the job's deadline counted from acceptance.

    `reads_clone` is the clone that a clone job copies, when its source is one of ours; a restore reads `clone_id`.
    """

    job_id: str
    kind: JobKind
    customer_id: str
    request: Facts
    secrets: bytes | None
    definition_version: int
    run_for: timedelta
    priority: Priority = Priority.NORMAL
    clone_id: str | None = None
    reads_clone: str | None = None
    retry_of: str | None = None
    traceparent: str = ""

    def accepted(self, at: datetime) -> Job:
        """The job as it is right after its acceptance at that time."""
        return Job(
            job_id=self.job_id, kind=self.kind, state=JobState.PENDING, customer_id=self.customer_id, priority=self.priority,
            revision=1, fence=0, enqueue_seq=1, definition_version=self.definition_version, request=dict(self.request),
            created_at=at, updated_at=at, deadline_at=at + self.run_for, next_run_at=at, clone_id=self.clone_id,
            secrets=self.secrets, retry_of=self.retry_of, traceparent=self.traceparent,
        )  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A worker's right to run `job` until its lease ends; `fence` grows with each claim of the job.

    `lapsed` says that it was taken over from a worker whose lease had ended.
    """

    job: Job
    worker: str
    fence: int
    lapsed: bool = False


@dataclass(frozen=True)
class Renewal:
    """One claim that is still ours after a renewal, and whether somebody asked to cancel its job."""

    job_id: str
    fence: int
    cancel_requested: bool


@dataclass(frozen=True)
class Ring:
    """A message that says: look at this job. Its message id is `<job_id>:<enqueue_seq>`."""

    job_id: str
    enqueue_seq: int
    priority: Priority
    traceparent: str = ""


@dataclass(frozen=True)
class Clone:
    """A clone as its owner sees it; `guard_key` is ciphertext."""

    clone_id: str
    customer_id: str
    state: CloneState
    runtime: str
    source_url: str
    url: str
    ttl: timedelta
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None = None
    expires_at: datetime | None = None
    synced_expires_at: datetime | None = None
    guard_key: bytes | None = None
    admin_login: str = ""
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class NewClone:
    """The clone row that is written in the same transaction as its job."""

    clone_id: str
    customer_id: str
    runtime: str
    source_url: str
    ttl: timedelta
    guard_key: bytes | None = None


@dataclass(frozen=True)
class Limits:
    """A customer's caps; None means no cap."""

    running_jobs: int | None = None
    live_clones: int | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True)
class Customer:
    """Who owns jobs and clones."""

    customer_id: str
    limits: Limits
    created_at: datetime


@dataclass(frozen=True)
class Principal:
    """Who a bearer token speaks for."""

    customer_id: str
    is_admin: bool


@dataclass(frozen=True)
class Token:
    """A bearer token as it is kept: `token_id` names it, and it cannot be read back."""

    token_id: str
    principal: Principal
    created_at: datetime


@dataclass(frozen=True)
class RequestKey:
    """Idempotency: the same id with the same body hash gives the same answer for 7 days."""

    customer_id: str
    method: str
    request_id: str
    body_hash: bytes
