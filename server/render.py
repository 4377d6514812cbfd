"""From core's values to the API's messages. Pure; `words` has the tables, `showing` decides who sees what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from server.words import CLONE_STATES, JOB_STATES, KINDS, STEP_STATES
from wpclone.core.jobs.job import Clone, Job, JobError, Step
from wpclone.core.jobs.view import from_rfc3339
from wpclone.v2 import clone_pb2, job_pb2

DOMAIN = "wpclone.dev"
"""Whose reasons ErrorInfo and ErrorDetail carry."""

_TEXTS = ("clone_id", "clone_url", "username", "consistency", "egress", "target_url")
_COUNTS = ("rows", "files", "bytes")


def status_url(job_id: str) -> str:
    """The path of a job in REST."""
    return f"/api/v2/jobs/{job_id}"


def job(shown: Job, *, estimated_completion: datetime | None, password: str | None) -> job_pb2.Job:
    """A job; `password` only for those who may see it."""
    message = job_pb2.Job(
        job_id=shown.job_id,
        type=shown.kind.value,
        status=shown.state.value,
        progress=shown.progress,
        status_message=shown.status_message,
        status_url=status_url(shown.job_id),
        created_at=moment(shown.created_at),
        updated_at=moment(shown.updated_at),
        completed_at=moment(shown.completed_at),
        estimated_completion=moment(estimated_completion),
        result=result(shown.result, password) if shown.result is not None else None,
        kind=KINDS[shown.kind],
        state=JOB_STATES[shown.state],
        steps=[step(one) for one in shown.steps],
        attempt=shown.attempt,
        revision=shown.revision,
        retry_of=shown.retry_of,
        needs_attention=shown.needs_attention,
        customer_id=shown.customer_id,
        clone_id=shown.clone_id,
        cancel_requested_at=moment(shown.cancel_requested_at),
        priority=shown.priority.value,
    )
    _set_error(message, shown.error)
    return message


def step(shown: Step) -> job_pb2.Step:
    """A step, without its facts: those are the workers' own."""
    message = job_pb2.Step(
        name=shown.name,
        status=shown.state.value,
        state=STEP_STATES[shown.state],
        attempts=shown.attempts,
        started_at=moment(shown.started_at),
        finished_at=moment(shown.finished_at),
    )
    _set_error(message, shown.last_error)
    return message


def result(shown: Mapping[str, Any], password: str | None) -> job_pb2.JobResult:
    """What came of a job. Of a result written by another version what this one doesn't know is left out."""
    message = job_pb2.JobResult(password=password)
    for name in _TEXTS:
        if isinstance(shown.get(name), str):
            setattr(message, name, shown[name])
    for name in _COUNTS:
        if isinstance(shown.get(name), int):
            setattr(message, name, shown[name])
    if isinstance(shown.get("copy_seconds"), int | float):
        message.copy_seconds = float(shown["copy_seconds"])
    if isinstance(shown.get("expires_at"), str):
        message.expires_at.FromDatetime(from_rfc3339(shown["expires_at"]))
    if isinstance(shown.get("rollback_until"), str):
        message.rollback_until.FromDatetime(from_rfc3339(shown["rollback_until"]))
    if isinstance(shown.get("report"), Mapping):
        message.report.update(dict(shown["report"]))
    return message


def clone(shown: Clone) -> clone_pb2.Clone:
    """A clone."""
    return clone_pb2.Clone(
        clone_id=shown.clone_id,
        customer_id=shown.customer_id,
        status=shown.state.value,
        state=CLONE_STATES[shown.state],
        source_url=shown.source_url,
        clone_url=shown.url or None,
        username=shown.admin_login or None,
        ttl_minutes=int(shown.ttl.total_seconds() // 60),
        created_at=moment(shown.created_at),
        updated_at=moment(shown.updated_at),
        ready_at=moment(shown.ready_at),
        expires_at=moment(shown.expires_at),
        runtime=shown.runtime,
    )


def moment(time: datetime | None) -> Timestamp | None:
    """A time, or None for none."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _set_error(message: job_pb2.Job | job_pb2.Step, error: JobError | None) -> None:
    if error is None:
        return
    message.error = error.message
    detail = message.error_detail
    detail.reason, detail.domain = error.reason, DOMAIN
    if error.step:
        detail.step = error.step
    detail.metadata.update({str(name): str(value) for name, value in error.metadata.items()})
