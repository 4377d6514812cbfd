"""What may be asked of a running job from outside: cancel it, or give it up because the worker leaves."""

from __future__ import annotations

import asyncio


class Orders:
    """The orders for one claimed job. Set from the event loop's thread; they are never taken back."""

    def __init__(self) -> None:
        self._cancel = asyncio.Event()
        self._drain = asyncio.Event()
        self._leave = asyncio.Event()

    @property
    def is_cancelled(self) -> bool:
        """Somebody asked to cancel the job, and the store has it."""
        return self._cancel.is_set()

    @property
    def is_draining(self) -> bool:
        """No further step is to be started."""
        return self._drain.is_set()

    def cancel(self) -> None:
        """The job is to be undone."""
        self._cancel.set()

    def drain(self) -> None:
        """Hand the job back after the present step; a resumable step is cut at once."""
        self._drain.set()

    def leave(self) -> None:
        """The grace is over: cut the present step and hand the job back."""
        self._drain.set()
        self._leave.set()

    async def cut(self, *, resumable: bool, cancellable: bool) -> None:
        """Return when the present step is to be cut: on a cancel, on leaving, and on draining if it resumes cheaply."""
        events = [self._drain if resumable else self._leave]
        if cancellable:
            events.append(self._cancel)
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
