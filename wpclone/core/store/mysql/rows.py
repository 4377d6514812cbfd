"""Rows and values: how jobs, steps, clones and customers are written in MySQL and read back."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from wpclone.core.jobs.job import Clone, Customer, Job, Limits, NewClone, NewJob, Step
from wpclone.core.jobs.states import CloneState, JobKind, JobState, Priority, StepState, Verdict
from wpclone.core.jobs.view import error_view, from_error_view
from wpclone.core.store import clip

NOW = "UTC_TIMESTAMP(6)"

_JOB = (
    "job_id", "kind", "status", "customer_id", "priority", "revision", "fence", "enqueue_seq", "definition_version", "request",
    "created_at", "updated_at", "deadline_at", "next_run_at", "clone_id", "progress", "status_message", "attempt", "lapses",
    "verdict", "error", "result", "secrets", "completed_at", "cancel_requested_at", "estimated_completion", "retry_of",
    "needs_attention", "traceparent",
)  # fmt: skip
_STEP = ("name", "position", "state", "attempts", "started_at", "finished_at", "last_error", "facts")
_CLONE = (
    "clone_id", "customer_id", "state", "runtime", "source_url", "url", "ttl_seconds", "created_at", "updated_at", "ready_at",
    "expires_at", "synced_expires_at", "guard_key", "admin_login", "facts",
)  # fmt: skip

JOB_COLUMNS = ", ".join(f"j.{name}" for name in _JOB)
CLONE_COLUMNS = ", ".join(f"c.{name}" for name in _CLONE)
CUSTOMER_COLUMNS = "customer_id, running_jobs, live_clones, requests_per_minute, created_at"

# One statement is one snapshot under READ COMMITTED: a job and its steps always belong to the same revision.
JOBS_WITH_STEPS = (
    f"SELECT {JOB_COLUMNS}, {', '.join(f's.{name}' for name in _STEP)} FROM jobs j LEFT JOIN job_steps s ON s.job_id = j.job_id"
)
JOB_WITH_STEPS = JOBS_WITH_STEPS + " WHERE j.job_id = %(job_id)s ORDER BY s.position"
JOB_THEN_STEPS = (
    f"SELECT {JOB_COLUMNS} FROM jobs j WHERE j.job_id = %(job_id)s",
    f"SELECT {', '.join(_STEP)} FROM job_steps WHERE job_id = %(job_id)s ORDER BY position",
)
"""The same for whoever holds the job's row lock: less to send and to read when there are many steps."""

NEWS_OF_JOB = """SELECT revision, updated_at, progress, status_message, attempt, cancel_requested_at, next_run_at, enqueue_seq
  FROM jobs WHERE job_id = %(job_id)s"""
NEWS_OF_STEPS = f"SELECT {', '.join(_STEP)} FROM job_steps WHERE job_id = %(job_id)s AND name IN %(names)s"
"""What may be new of a job that goes on; for `known_job_from`. To read a column takes longer than to write it."""

INSERT_JOB = f"""INSERT INTO jobs (job_id, kind, status, customer_id, priority, revision, fence, enqueue_seq, definition_version,
  request, secrets, clone_id, reads_clone, retry_of, traceparent, status_message,
  created_at, updated_at, next_run_at, rung_until, deadline_at)
SELECT %(job_id)s, %(kind)s, 'pending', customer_id, %(priority)s, 1, 0, 1, %(definition_version)s,
  %(request)s, %(secrets)s, %(clone_id)s, %(reads_clone)s, %(retry_of)s, %(traceparent)s, '',
  {NOW}, {NOW}, {NOW}, {NOW} + INTERVAL %(first_ring)s SECOND, {NOW} + INTERVAL %(run_for)s SECOND
FROM customers WHERE customer_id = %(customer_id)s"""
"""A new pending job, if its customer exists."""

INSERT_CLONE = f"""INSERT INTO clones (clone_id, customer_id, state, runtime, source_url, url, ttl_seconds, guard_key,
  admin_login, facts, created_at, updated_at)
SELECT %(new_clone_id)s, customer_id, 'creating', %(runtime)s, %(source_url)s, '', %(ttl_seconds)s, %(guard_key)s, '', '{{}}',
  {NOW}, {NOW} FROM jobs WHERE job_id = %(job_id)s"""
"""A clone that is being created, if its job was inserted."""


def new_job_values(new: NewJob, first_ring: timedelta) -> dict[str, Any]:
    """The parameters of INSERT_JOB."""
    return {
        "job_id": new.job_id,
        "kind": new.kind.value,
        "customer_id": new.customer_id,
        "priority": new.priority.value,
        "definition_version": new.definition_version,
        "request": to_json(new.request),
        "secrets": new.secrets,
        "clone_id": new.clone_id,
        "reads_clone": new.reads_clone,
        "retry_of": new.retry_of,
        "traceparent": new.traceparent,
        "first_ring": first_ring.total_seconds(),
        "run_for": new.run_for.total_seconds(),
    }


def new_clone_values(new: NewClone) -> dict[str, Any]:
    """The parameters of INSERT_CLONE besides the job's."""
    return {
        "new_clone_id": new.clone_id,
        "runtime": new.runtime,
        "source_url": sound(new.source_url),
        "ttl_seconds": new.ttl.total_seconds(),
        "guard_key": new.guard_key,
    }


def job_from(row: Sequence[Any], steps: tuple[Step, ...] = ()) -> Job:
    """The job of one row of JOB_COLUMNS."""
    v = dict(zip(_JOB, row, strict=False))
    return Job(
        job_id=v["job_id"], kind=JobKind(v["kind"]), state=JobState(v["status"]), customer_id=v["customer_id"],
        priority=Priority(v["priority"]), revision=v["revision"], fence=v["fence"], enqueue_seq=v["enqueue_seq"],
        definition_version=v["definition_version"], request=json.loads(v["request"]), created_at=aware(v["created_at"]),
        updated_at=aware(v["updated_at"]), deadline_at=aware(v["deadline_at"]), next_run_at=aware(v["next_run_at"]),
        clone_id=v["clone_id"], progress=v["progress"], status_message=v["status_message"], attempt=v["attempt"],
        lapses=v["lapses"], verdict=Verdict(v["verdict"]) if v["verdict"] else None,
        error=from_error_view(_json(v["error"])), result=_json(v["result"]), secrets=v["secrets"],
        completed_at=_maybe(v["completed_at"]), cancel_requested_at=_maybe(v["cancel_requested_at"]),
        estimated_completion=_maybe(v["estimated_completion"]), retry_of=v["retry_of"],
        needs_attention=bool(v["needs_attention"]), traceparent=v["traceparent"], steps=steps,
    )  # fmt: skip


def jobs_from(rows: Iterable[Sequence[Any]]) -> dict[str, Job]:
    """The jobs of rows of JOBS_WITH_STEPS, by id."""
    jobs: dict[str, Sequence[Any]] = {}
    steps: dict[str, list[Step]] = {}
    for row in rows:
        jobs.setdefault(row[0], row)
        found = steps.setdefault(row[0], [])
        if row[len(_JOB)] is not None:
            found.append(_step_from(row[len(_JOB) :]))
    return {job_id: job_from(row, tuple(steps[job_id])) for job_id, row in jobs.items()}


def locked_job_from(job: Sequence[Sequence[Any]], steps: Sequence[Sequence[Any]]) -> Job:
    """The job of the rows of JOB_THEN_STEPS."""
    return job_from(job[0], tuple(_step_from(row) for row in steps))


def known_job_from(known: Job, row: Sequence[Any], steps: Sequence[Sequence[Any]]) -> Job:
    """A known job with what the rows of NEWS_OF_JOB and NEWS_OF_STEPS say is new."""
    revision, updated_at, progress, status_message, attempt, cancel_requested_at, next_run_at, enqueue_seq = row
    rows = {step.name: step for step in known.steps} | {new.name: new for new in map(_step_from, steps)}
    return replace(
        known, revision=revision, updated_at=aware(updated_at), progress=progress, status_message=status_message,
        attempt=attempt, cancel_requested_at=_maybe(cancel_requested_at), next_run_at=aware(next_run_at),
        enqueue_seq=enqueue_seq, steps=tuple(sorted(rows.values(), key=lambda step: step.position)),
    )  # fmt: skip


def clone_from(row: Sequence[Any]) -> Clone:
    """The clone of one row of CLONE_COLUMNS."""
    v = dict(zip(_CLONE, row, strict=True))
    return Clone(
        clone_id=v["clone_id"], customer_id=v["customer_id"], state=CloneState(v["state"]), runtime=v["runtime"],
        source_url=v["source_url"], url=v["url"], ttl=timedelta(seconds=float(v["ttl_seconds"])),
        created_at=aware(v["created_at"]), updated_at=aware(v["updated_at"]), ready_at=_maybe(v["ready_at"]),
        expires_at=_maybe(v["expires_at"]), synced_expires_at=_maybe(v["synced_expires_at"]), guard_key=v["guard_key"],
        admin_login=v["admin_login"], facts=json.loads(v["facts"]),
    )  # fmt: skip


def customer_from(row: Sequence[Any]) -> Customer:
    """The customer of one row of CUSTOMER_COLUMNS."""
    customer_id, running_jobs, live_clones, requests_per_minute, created_at = row
    return Customer(customer_id, Limits(running_jobs, live_clones, requests_per_minute), aware(created_at))


def step_values(step: Step) -> dict[str, Any]:
    """The parameters of a step's upsert; empty facts and no error mean: keep what is there."""
    return {
        "step_name": step.name,
        "position": step.position,
        "step_state": step.state.value,
        "attempts": step.attempts,
        "step_error": to_json(error_view(step.last_error)) if step.last_error is not None else None,
        "step_facts": to_json(step.facts) if step.facts else None,
        "finishes": int(step.finishes),
    }


def to_json(value: Mapping[str, Any] | None) -> str | None:
    """JSON that MySQL's parser takes too: lone surrogates, which file names may hold, become question marks."""
    return None if value is None else sound(json.dumps(dict(value), ensure_ascii=False, allow_nan=False))


def sound(text: str) -> str:
    """Text that is valid UTF-8."""
    return text.encode("utf-8", "replace").decode()


def message(text: str) -> str:
    """A status message as it is kept."""
    return sound(clip(text))


def naive(time: datetime) -> datetime:
    """An aware time as DATETIME(6) keeps it: UTC."""
    return time.astimezone(UTC).replace(tzinfo=None)


def aware(time: datetime) -> datetime:
    """A DATETIME(6) as an aware time: UTC."""
    return time.replace(tzinfo=UTC)


def _step_from(row: Sequence[Any]) -> Step:
    name, position, state, attempts, started_at, finished_at, last_error, facts = row
    return Step(
        name, position, StepState(state), attempts, _maybe(started_at), _maybe(finished_at), from_error_view(_json(last_error)),
        json.loads(facts),
    )  # fmt: skip


def _json(text: str | None) -> dict[str, Any] | None:
    return json.loads(text) if text is not None else None


def _maybe(time: datetime | None) -> datetime | None:
    return aware(time) if time is not None else None
