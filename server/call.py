"""One call as the interceptor sees it: its name, its request's id, how long it may take, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from wpclone.core.clock import Clock
from wpclone.core.ids import Randomness
from wpclone.core.metrics import Metrics

_log = structlog.get_logger("server.calls")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

LONGEST = {"Clone": 615.0, "Restore": 615.0, "WaitJob": 615.0, "WatchJob": None}
"""Seconds a call may take; None: as long as it wants. The first two are v1's: no two services have a method of one name."""
LONGEST_OTHERS = 15.0


@dataclass(frozen=True)
class Call:
    """A call at work."""

    method: str
    request_id: str
    started: float
    clock: Clock
    metrics: Metrics

    def limit(self, remaining: float | None) -> float | None:
        """Seconds until the call is ended here: what the client allows, but never more than the method's limit."""
        most = LONGEST.get(self.method, LONGEST_OTHERS)
        if most is None or remaining is None:
            return most
        return min(most, remaining)

    def ended(self, code: str, error: BaseException | None = None, *, internal: bool = False) -> None:
        """Count and log the end. Only an internal error is logged with its stack and text: others belong to the caller."""
        seconds = self.clock.monotonic() - self.started
        self.metrics.grpc_calls.labels(self.method, code).inc()
        self.metrics.grpc_seconds.labels(self.method).observe(seconds)
        fields = {"method": self.method, "code": code, "ms": round(seconds * 1000, 1), "request_id": self.request_id}
        if internal:
            _log.error("call.failed", exc_info=error, **fields)
        else:
            _log.info("call.answered", reason=getattr(error, "reason", None), **fields)


def request_id(metadata: Iterable[tuple[str, Any]] | None, randomness: Randomness) -> str:
    """The caller's `x-request-id` when it is a sane one (Envoy always sends one), else a new one."""
    for name, value in metadata or ():
        if name == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return randomness(8).hex()
