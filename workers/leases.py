"""Keeps a worker's claims alive, and its process honest when it cannot.

One thread renews all claims in one statement every five seconds, on its own connection, so that a blocked event loop loses no
lease. A second thread only looks at clocks. Counted from sending the last renewal that succeeded: at 10 s a job's task is
cancelled, at 12 s the process exits if that task still runs, and at 15 s somebody else may claim. Otherwise it stays up and
goes on asking until MySQL is back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from workers.orders import Orders
from wpclone.core.jobs.job import Claim, Renewal

_log = structlog.get_logger(__name__)

RENEW_EVERY = 5.0
"""Seconds between two renewals."""

AGAIN = 1.0
"""Seconds until the next try after a renewal that failed or missed a job."""

CANCEL_AT = 10.0
"""Seconds after the last good renewal at which a job's task is cancelled."""

EXIT_AT = 12.0
"""Seconds after which the process exits if the task has not ended: before the lease does, at 15."""

LOOK_EVERY = 0.25
"""Seconds between two looks of the guard."""

EXIT_CODE = 70
"""What the process exits with: EX_SOFTWARE of sysexits(3)."""


class Line(Protocol):
    """A connection of its own to the job store, used from one thread."""

    def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """See `JobStore.renew`. Returns or raises within 3 seconds."""

    def seen(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """The same without renewing: it waits for nobody's lock."""

    def close(self) -> None:
        """Hang up; idempotent."""


@dataclass
class _Held:
    """One claim: its task, and when the last renewal that succeeded was sent."""

    claim: Claim
    task: asyncio.Task[None]
    orders: Orders
    renewed_at: float
    misses: int = 0
    is_cancelled: bool = False
    is_abandoned: bool = False


class Leases:
    """The claims of one worker. `monotonic` should count suspended time too; `exit_process` must not return."""

    def __init__(self, line: Line, worker: str, *, monotonic: Callable[[], float], exit_process: Callable[[int], None]) -> None:
        self._line = line
        self._worker = worker
        self._monotonic = monotonic
        self._exit_process = exit_process
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start both threads; tasks and orders belong to `loop`."""
        self._loop = loop
        for work in (self._keep_renewing, self._keep_looking):
            thread = threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End both threads and hang up. What is still held is left to its lease."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=5)
        self._line.close()

    def monotonic(self) -> float:
        """The clock that leases are counted on; take it before sending a claim."""
        return self._monotonic()

    def hold(self, claim: Claim, task: asyncio.Task[None], orders: Orders, *, sent_at: float) -> None:
        """Keep this claim, which was sent at `sent_at`, until `release`."""
        with self._lock:
            self._held[claim.job.job_id] = _Held(claim, task, orders, sent_at)

    def release(self, job_id: str) -> None:
        """The claim is over."""
        with self._lock:
            self._held.pop(job_id, None)

    def abandon(self, job_id: str) -> None:
        """Stop renewing a job whose step does not stop: the guard then ends the process before the lease ends."""
        with self._lock:
            held = self._held.get(job_id)
            if held is not None:
                held.is_abandoned = True
        _log.error("lease.abandoned", job_id=job_id)

    def ask_now(self) -> None:
        """Look at once whether somebody asked to cancel. Not by a renewal, which may wait for a lock of a job that just ends."""
        self._wake.set()

    def renew_once(self) -> bool:
        """One renewal of all claims; whether the next can wait its full time. For the thread, and for tests."""
        fences = self._fences()
        if not fences:
            return True
        sent_at = self._monotonic()
        try:
            renewed = {renewal.job_id: renewal for renewal in self._line.renew(self._worker, fences)}
        except Exception as error:  # whatever the driver says, the clock decides
            _log.warning("lease.not_renewed", jobs=len(fences), error=str(error))
            return False
        with self._lock:
            answers = [self._renewed(job_id, renewed.get(job_id), fence, sent_at) for job_id, fence in fences.items()]
        return all(answers)

    def look_for_cancels(self) -> None:
        """Order the cancels the store has. For the thread; a failure is left to the next renewal."""
        fences = self._fences()
        if not fences:
            return
        try:
            seen = self._line.seen(self._worker, fences)
        except Exception as error:  # as above
            _log.warning("lease.not_asked", jobs=len(fences), error=str(error))
            return
        with self._lock:
            for renewal in seen:
                held = self._held.get(renewal.job_id)
                if renewal.cancel_requested and held is not None:
                    self._on_loop(held.orders.cancel)

    def look(self) -> None:
        """Cancel tasks that are late, exit if one does not end. For the thread, and for tests."""
        now = self._monotonic()
        with self._lock:
            for job_id, held in self._held.items():
                age = now - held.renewed_at
                if age >= CANCEL_AT and not held.is_cancelled:
                    _log.error("lease.unsafe", job_id=job_id, seconds=round(age, 1))
                    self._cancel(held)
                if age >= EXIT_AT and not held.task.done():
                    _log.critical("lease.exit", job_id=job_id, seconds=round(age, 1))
                    self._exit_process(EXIT_CODE)

    def _keep_renewing(self) -> None:
        due = self._due(RENEW_EVERY)
        while not self._stopped.is_set():
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            if self._stopped.is_set():
                return
            # First what is due, which also tells of cancels: however many of those come, no lease ends over them.
            if time.monotonic() >= due:
                due = self._due(RENEW_EVERY if self.renew_once() else AGAIN)
            else:
                self.look_for_cancels()

    @staticmethod
    def _due(pause: float) -> float:
        """On the clock that `wait` counts on, which need not be the leases'."""
        return time.monotonic() + pause

    def _keep_looking(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            self.look()

    def _fences(self) -> dict[str, int]:
        with self._lock:
            return {job_id: held.claim.fence for job_id, held in self._held.items() if not held.is_abandoned}

    def _renewed(self, job_id: str, renewal: Renewal | None, fence: int, sent_at: float) -> bool:
        held = self._held.get(job_id)
        if held is None or held.claim.fence != fence:
            return True
        if renewal is None:
            # A job that has just ended is missing once, before `release`; one that was lost is missing twice.
            held.misses += 1
            if held.misses > 1:
                _log.warning("lease.lost", job_id=job_id, fence=fence)
                self._cancel(held)
            return False
        held.misses = 0
        held.renewed_at = max(held.renewed_at, sent_at)
        if renewal.cancel_requested:
            self._on_loop(held.orders.cancel)
        return True

    def _cancel(self, held: _Held) -> None:
        if not held.is_cancelled:
            held.is_cancelled = True
            self._on_loop(held.task.cancel)

    def _on_loop(self, call: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)
