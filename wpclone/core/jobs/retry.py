"""When to try again: exponential, full jitter, bounded (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

Chance = Callable[[], float]
"""A number in [0, 1); `random.random` in production, a constant in tests."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a step may fail at its own work, and how long the pauses grow."""

    attempts: int = 4
    base: timedelta = timedelta(seconds=2)
    most: timedelta = timedelta(seconds=60)

    def is_exhausted(self, attempt: int) -> bool:
        """Whether `attempt` (1 for the first failure) was the last one allowed."""
        return attempt >= self.attempts

    def pause(self, attempt: int, chance: Chance, *, asked: timedelta | None = None) -> timedelta:
        """The pause after failure number `attempt`; never shorter than what the step `asked` for."""
        ceiling = min(self.most, self.base * float(2 ** min(attempt - 1, 20)))
        jittered = ceiling * chance()
        return max(jittered, asked) if asked is not None else jittered
