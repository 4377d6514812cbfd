"""A job as JSON for the bus: everything a watcher may see, no secrets. `from_view(view(job))` equals the job without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from wpclone.core.jobs.job import Job, JobError, Step
from wpclone.core.jobs.states import JobKind, JobState, Priority, StepState, Verdict

_TIMES = frozenset(
    {"created_at", "updated_at", "deadline_at", "next_run_at", "completed_at", "cancel_requested_at", "estimated_completion"}
)
_WORDS = {"kind": JobKind, "state": JobState, "priority": Priority, "verdict": Verdict}
_PLAIN = frozenset(f.name for f in fields(Job)) - _TIMES - set(_WORDS) - {"error", "steps", "secrets"}


def rfc3339(time: datetime) -> str:
    """An aware time as RFC 3339 in UTC with microseconds, such as `2030-01-02T03:04:05.000006Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def from_rfc3339(text: str) -> datetime:
    """The aware UTC time that `rfc3339` wrote. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def view(job: Job) -> dict[str, Any]:
    """The job as JSON values, secrets left out, times in RFC 3339."""
    shown: dict[str, Any] = {name: getattr(job, name) for name in _PLAIN}
    for name in _TIMES:
        shown[name] = _time(getattr(job, name))
    for name in _WORDS:
        word = getattr(job, name)
        shown[name] = word.value if word is not None else None
    shown["request"] = dict(job.request)
    shown["result"] = dict(job.result) if job.result is not None else None
    shown["error"] = error_view(job.error)
    shown["steps"] = [_step_view(step) for step in job.steps]
    return shown


def from_view(shown: Mapping[str, Any]) -> Job:
    """The job of a view. Raises ValueError, KeyError or TypeError when it is not one."""
    values: dict[str, Any] = {name: shown[name] for name in _PLAIN}
    for name in _TIMES:
        values[name] = _from_time(shown[name])
    for name, word in _WORDS.items():
        values[name] = word(shown[name]) if shown[name] is not None else None
    values["error"] = from_error_view(shown["error"])
    values["steps"] = tuple(_from_step_view(step) for step in shown["steps"])
    return Job(**values)


def event(job: Job) -> dict[str, Any]:
    """The payload of `jobs.event.<job_id>`: the whole job at one revision."""
    return {"job_id": job.job_id, "revision": job.revision, "job": view(job)}


def error_view(error: JobError | None) -> dict[str, Any] | None:
    """An error as JSON values."""
    if error is None:
        return None
    return {"message": error.message, "reason": error.reason, "step": error.step, "metadata": dict(error.metadata)}


def from_error_view(shown: Mapping[str, Any] | None) -> JobError | None:
    """The error of `error_view`."""
    return JobError(shown["message"], shown["reason"], shown["step"], shown["metadata"]) if shown is not None else None


def _step_view(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "position": step.position,
        "state": step.state.value,
        "attempts": step.attempts,
        "started_at": _time(step.started_at),
        "finished_at": _time(step.finished_at),
        "last_error": error_view(step.last_error),
        "facts": dict(step.facts),
    }


def _from_step_view(shown: Mapping[str, Any]) -> Step:
    return Step(
        name=shown["name"],
        position=shown["position"],
        state=StepState(shown["state"]),
        attempts=shown["attempts"],
        started_at=_from_time(shown["started_at"]),
        finished_at=_from_time(shown["finished_at"]),
        last_error=from_error_view(shown["last_error"]),
        facts=shown["facts"],
    )


def _time(time: datetime | None) -> str | None:
    return rfc3339(time) if time is not None else None


def _from_time(text: str | None) -> datetime | None:
    return from_rfc3339(text) if text is not None else None
