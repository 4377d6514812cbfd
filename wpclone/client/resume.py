"""When a broken watch or an unanswered call is tried again, and after what pause. Pure: time and chance are passed in.

Through Envoy a killed server is INTERNAL with `RST_STREAM` in the text, directly it is UNAVAILABLE; both mean "again, on a
fresh connection". The patience for failures in a row is renewed by every connection that was healthy for a while.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

import grpc

from wpclone.client.errors import ClientError


@dataclass(frozen=True)
class Patience:
    """How long a watch is kept trying.

    `first`: until the first message has ever come (is there a server at all?), and for the first message of each stream.
    `broken`: since the last healthy moment. `healthy`: how long a stream must have lived to renew the budget. `silence`: a
    stream without any message for this long is taken for dead (the service sends one at least every 15 s). `lifetime`: the
    deadline of one stream, after which another takes over. `shortest` and `longest` bound the pauses between tries.
    """

    first: timedelta = timedelta(seconds=10)
    broken: timedelta = timedelta(minutes=5)
    healthy: timedelta = timedelta(seconds=30)
    silence: timedelta = timedelta(seconds=45)
    lifetime: timedelta = timedelta(hours=1)
    shortest: timedelta = timedelta(milliseconds=200)
    longest: timedelta = timedelta(seconds=10)


def is_broken(error: ClientError) -> bool:
    """Whether the connection or the server behind it went away, so that a fresh connection may do better."""
    if error.code is grpc.StatusCode.INTERNAL:
        return "RST_STREAM" in error.message
    return error.code is grpc.StatusCode.UNAVAILABLE


def is_resumable(error: ClientError) -> bool:
    """Whether the same watch may succeed later: also when its stream's lifetime was over, or when it was told to come back."""
    if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return error.retry_after is not None
    return is_broken(error) or error.code is grpc.StatusCode.DEADLINE_EXCEEDED


def pause(patience: Patience, chance: random.Random, *, failures: int, error: ClientError) -> float:
    """Seconds until the next try: what the server asked for, and full jitter below a ceiling that doubles with each failure."""
    doubled = patience.shortest.total_seconds() * 2 ** min(failures, 16)
    asked = error.retry_after.total_seconds() if error.retry_after is not None else 0.0
    return asked + chance.uniform(0, min(patience.longest.total_seconds(), doubled))


class Budget:
    """The patience left for one watch. `now` is a monotonic reading in seconds."""

    def __init__(self, patience: Patience, chance: random.Random, *, now: float) -> None:
        self._patience = patience
        self._chance = chance
        self._since = now
        self._opened = now
        self._failures = 0
        self._introduced = False

    def opened(self, now: float) -> None:
        """A stream was asked for."""
        self._opened = now

    def heard(self, now: float) -> None:
        """A message came; a stream that has lived long enough renews the budget."""
        if not self._introduced:
            self._introduced = True
            self._since = now
        if now - self._opened >= self._patience.healthy.total_seconds():
            self._failures = 0
            self._since = now

    def pause_after(self, error: ClientError, now: float) -> float | None:
        """Seconds to wait before the next try or None when patience is over."""
        limit = self._patience.broken if self._introduced else self._patience.first
        if now - self._since >= limit.total_seconds():
            return None
        self._failures += 1
        return pause(self._patience, self._chance, failures=self._failures - 1, error=error)
