"""When a job will probably be done: how long its steps that are still to come took in past jobs, for a site of its size.

The past is read from the store once a minute, not for each answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from statistics import median
from typing import Self

from wpclone.core.clock import Clock
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobKind, StepState
from wpclone.core.store import JobStore, PastRun


@dataclass(frozen=True)
class Line:
    """How a step's seconds grow with the bytes of a site: the line of Theil and Sen, which a stalled job among many does not
    bend. It never falls and never begins below nothing."""

    at_nothing: float
    per_byte: float

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> Self:
        """Of (bytes, seconds), at least one."""
        slopes = [
            (later - early) / (large - small) for (small, early), (large, later) in combinations(points, 2) if large != small
        ]
        per_byte = max(0.0, median(slopes)) if slopes else 0.0
        return cls(max(0.0, median(seconds - per_byte * size for size, seconds in points)), per_byte)

    def at(self, size: int) -> float:
        """Seconds for a site of this many bytes."""
        return self.at_nothing + self.per_byte * size


@dataclass(frozen=True)
class _Usual:
    """What jobs of one kind took: a line for each step, and the median size of their sites, for a job that has not looked yet."""

    size: int
    lines: dict[str, Line]

    @classmethod
    def of(cls, runs: Sequence[PastRun]) -> Self:
        sizes = [run.site_bytes for run in runs if run.site_bytes is not None]
        middle = int(median(sizes)) if sizes else 0
        points: dict[str, list[tuple[int, float]]] = {}
        for run in runs:
            for name, seconds in run.seconds.items():
                points.setdefault(name, []).append((middle if run.site_bytes is None else run.site_bytes, seconds))
        return cls(middle, {name: Line.through(found) for name, found in points.items()})


class Estimates:
    """Knows how long the steps of each kind of job usually take."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._usual: dict[JobKind, _Usual] = {}

    async def refresh(self) -> None:
        """Read the past anew. Raises StoreUnavailable; then what was read before goes on to serve."""
        for kind in JobKind:
            self._usual[kind] = _Usual.of(await self._store.past_runs(kind))

    def completion(self, job: Job) -> datetime | None:
        """When the job will probably be done; None when unknown, final, being undone, or for what is short: a dry run, a
        rollback, a release."""
        if job.state.is_terminal or job.verdict is not None or job.cancel_requested_at is not None:
            return None
        if job.estimated_completion is not None:
            return job.estimated_completion
        usual = self._usual.get(job.kind)
        if usual is None or not usual.lines or job.request.get("dry_run") or job.request.get("action"):
            return None
        now = self._clock.now()
        return max(now, job.next_run_at) + timedelta(seconds=_remaining(job, usual, now))


def _remaining(job: Job, usual: _Usual, now: datetime) -> float:
    """Seconds: all of the steps to come, and what is left of the one at work (none when it takes longer than usual)."""
    size = next((int(step.facts["site_bytes"]) for step in job.steps if "site_bytes" in step.facts), usual.size)
    left = {name: line.at(size) for name, line in usual.lines.items()}
    for step in job.steps:
        if step.state is StepState.DONE:
            left.pop(step.name, None)
        elif step.state is StepState.RUNNING and step.started_at is not None and step.name in left:
            left[step.name] = max(0.0, left[step.name] - (now - step.started_at).total_seconds())
    return sum(left.values())
