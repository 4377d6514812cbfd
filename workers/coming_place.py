"""A clone's place that comes up while its content is copied.

What keeps it from ever coming ends the copy at once; what it only waits for is told beside the copy's own progress. A place that
nobody can ask about now is no reason to stop: whoever needs it asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from workers.runtimes import Runtime
from workers.step import Report
from wpclone.core.jobs.errors import RetryLater
from wpclone.core.supervise import end

T = TypeVar("T")

AGAIN = 2.0
"""Seconds until a place that could not be waited for is asked about again."""


class ComingPlace:
    """One clone's place; `report` is the step's, which copies into it."""

    def __init__(self, runtime: Runtime, clone_id: str, report: Report) -> None:
        self._runtime = runtime
        self._clone_id = clone_id
        self._report = report
        self._waits_for, self._fraction, self._copies = "", 0.0, ""

    def report(self, fraction: float, sentence: str) -> None:
        """How far the copy is; see `workers.step.Report`."""
        self._fraction, self._copies = fraction, sentence
        self._tell()

    async def beside(self, copying: Coroutine[Any, Any, T]) -> T:
        """The copy's result. Raises what the copy raises, and Fatal when the place will never take it."""
        is_over = False
        watching = asyncio.create_task(self._watch())

        def cut(done: asyncio.Task[None]) -> None:
            if not is_over and not done.cancelled() and done.exception():
                until.reschedule(asyncio.get_running_loop().time())

        try:
            # A limit that only `cut` sets: it ends the copy in this very task, so that nothing is left of it when this returns.
            async with asyncio.timeout(None) as until:
                watching.add_done_callback(cut)
                try:
                    return await copying
                finally:
                    is_over = True
        except TimeoutError:
            if until.expired():
                watching.result()
            raise
        finally:
            await end(watching)

    async def _watch(self) -> None:
        while True:
            try:
                await self._runtime.ready(self._clone_id, self._hear)
            except RetryLater:
                await asyncio.sleep(AGAIN)
            else:
                self._hear("")
                return

    def _hear(self, sentence: str) -> None:
        if sentence != self._waits_for:
            self._waits_for = sentence
            self._tell()

    def _tell(self) -> None:
        self._report(self._fraction, " ".join(filter(None, (self._waits_for, self._copies))))
