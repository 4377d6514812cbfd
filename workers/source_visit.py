"""The steps of a visit to a source, as every plan that reads one has them: reach it, look at it, leave it as it was."""

from __future__ import annotations

from datetime import timedelta

from workers.plans import PlannedStep
from workers.sources import Sources
from workers.steps.preflight import Preflight
from workers.steps.reach_source import ReachSource
from workers.steps.release_source import ReleaseSource
from wpclone.core.jobs.retry import RetryPolicy

_SOURCE = RetryPolicy(attempts=4, base=timedelta(seconds=1), most=timedelta(seconds=30))
_QUICK = RetryPolicy(attempts=3, base=timedelta(seconds=1), most=timedelta(seconds=5))


def reaching(sources: Sources) -> PlannedStep:
    """The first step: its undo is what removes our agent from a source whose job fails."""
    return PlannedStep(
        ReachSource(sources), "Reaching the source", 3, timedelta(minutes=5), _SOURCE,
        undo_deadline=timedelta(minutes=3), undo_retry=_QUICK,
    )  # fmt: skip


def looking(preflight: Preflight) -> PlannedStep:
    """The second: nothing has been created yet."""
    return PlannedStep(preflight, "Looking at the source", 4, timedelta(minutes=30), _SOURCE)


def releasing(sources: Sources) -> PlannedStep:
    """The last."""
    return PlannedStep(ReleaseSource(sources), "Removing our agent from the source", 1, timedelta(minutes=3), _QUICK)
