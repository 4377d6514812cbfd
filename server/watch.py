"""Watching jobs: one subscription for the whole process, fanned out in memory; level-triggered, so nothing can be missed.

A watcher registers first and reads second; then it is sent the whole job whenever its revision grew. All watchers of a job share
one slot with its newest revision, so a slow one skips revisions and costs no memory, and none skips the terminal one. Events only
carry news faster: every five seconds one read of all watched jobs makes a lost one harmless. Design: docs/adr/0002.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from wpclone.core.bus import Bus, subjects
from wpclone.core.jobs.errors import JobNotFound, LimitReached, ShuttingDown
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.retry import Chance
from wpclone.core.jobs.view import from_view
from wpclone.core.metrics import Metrics
from wpclone.core.store import JobStore

_log = structlog.get_logger(__name__)

RETRY_AFTER = timedelta(seconds=5)
"""What who has too many watches is told to wait."""

READ_AT_ONCE = 1000
"""Jobs in one re-read."""


@dataclass(frozen=True)
class Beat:
    """Seconds without news after which a watcher is sent the same revision again: the first time, and later ones.

    The first is shorter, so that who resumes after the present revision soon knows that the stream lives.
    """

    first: float = 4.0
    later: float = 12.0


@dataclass(frozen=True)
class Update:
    """What a watcher is sent: the job, and whether this server is about to end the stream."""

    job: Job
    closing: bool = False


@dataclass(eq=False)
class _Watched:
    """A job somebody watches: its newest known revision, and who waits for the next."""

    latest: Job | None = None
    is_gone: bool = False
    watchers: set[Watcher] = field(default_factory=set)

    def offer(self, job: Job) -> None:
        if self.latest is None or job.revision > self.latest.revision:
            self.latest = job
            self.wake()

    def wake(self) -> None:
        for watcher in self.watchers:
            watcher.news.set()


class Watcher:
    """One registered watcher; made by `Watches.watcher`."""

    def __init__(self, watched: _Watched, watches: Watches, beat: Beat, chance: Chance) -> None:
        self.news = asyncio.Event()
        self._watched = watched
        self._watches = watches
        self._beat = beat
        self._chance = chance

    def offer(self, job: Job) -> None:
        """What a read after the registration found; every watcher of the job profits."""
        self._watched.offer(job)

    async def updates(self, after_revision: int) -> AsyncGenerator[Update, None]:
        """The job at each newer revision, heartbeats between, the terminal one last, also when it isn't newer.

        `offer` comes first. Raises ShuttingDown after an update with `closing`; JobNotFound when the job was pruned.
        """
        sent, pause, is_due = after_revision, self._beat.first, False
        while True:
            self.news.clear()  # before looking: what changes from here on wakes us
            job = self._newest()
            if job.state.is_terminal:
                yield Update(job)
                return
            if self._watches.is_draining:
                yield Update(job, closing=True)
                raise ShuttingDown
            if is_due or job.revision > sent:
                sent, pause = max(sent, job.revision), self._beat.later
                yield Update(job)
            is_due = not await self._has_news(pause)

    async def final(self, within: float) -> Job:
        """The job when it is terminal, after `within` seconds, or when the server drains, whichever is first."""
        try:
            async with asyncio.timeout(within), aclosing(self.updates(0)) as updates:
                async for update in updates:
                    if update.closing or update.job.state.is_terminal:
                        return update.job
        except TimeoutError:
            return self._newest()
        return self._newest()

    def _newest(self) -> Job:
        if self._watched.latest is None or self._watched.is_gone:
            raise JobNotFound
        return self._watched.latest

    async def _has_news(self, pause: float) -> bool:
        try:
            async with asyncio.timeout(pause * (0.75 + 0.25 * self._chance())):
                await self.news.wait()
        except TimeoutError:
            return False
        return True


class Watches:
    """All watchers of this process, at most `most_each` of one customer."""

    def __init__(self, store: JobStore, bus: Bus, metrics: Metrics, *, chance: Chance, beat: Beat, most_each: int) -> None:
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._chance = chance
        self._beat = beat
        self._most_each = most_each
        self._watched: dict[str, _Watched] = {}
        self._open: Counter[str] = Counter()
        self.is_draining = False

    @contextmanager
    def watcher(self, job_id: str, *, whose: str) -> Iterator[Watcher]:
        """Register a watcher for the customer `whose`; read the job only then, and `offer` it.

        Raises ShuttingDown while draining, LimitReached when the customer has as many as it may.
        """
        if self.is_draining:
            raise ShuttingDown
        if self._open[whose] >= self._most_each:
            sentence = f"{self._most_each} watches and waits at a time are allowed."
            raise LimitReached(sentence, retry_after=RETRY_AFTER, metadata={"limit": "watches"})
        self._open[whose] += 1
        watched = self._watched.setdefault(job_id, _Watched())
        watcher = Watcher(watched, self, self._beat, self._chance)
        watched.watchers.add(watcher)
        self._metrics.watchers.inc()
        try:
            yield watcher
        finally:
            self._metrics.watchers.dec()
            self._open[whose] -= 1
            if not self._open[whose]:
                del self._open[whose]
            watched.watchers.discard(watcher)
            if not watched.watchers:
                self._watched.pop(job_id, None)

    async def listen(self) -> None:
        """Fan out what is told on the bus; returns only when the subscription ends. Run it supervised."""
        async for _subject, payload in self._bus.listen(subjects.EVENTS):
            watched = self._watched.get(str(payload.get("job_id")))
            if watched is not None:
                _offer(watched, payload)

    async def reread(self) -> None:
        """Read all watched jobs once; run it supervised, every five seconds. Raises StoreUnavailable."""
        ids = list(self._watched)
        for start in range(0, len(ids), READ_AT_ONCE):
            asked = ids[start : start + READ_AT_ONCE]
            found = await self._store.get_jobs(asked)
            for job_id in asked:
                self._found(job_id, found.get(job_id))

    def drain(self) -> None:
        """Let every watcher go: each is sent `closing`, then its stream ends."""
        self.is_draining = True
        for watched in self._watched.values():
            watched.wake()

    def _found(self, job_id: str, job: Job | None) -> None:
        watched = self._watched.get(job_id)
        if watched is None:
            return
        if job is not None:
            watched.offer(job)
        elif watched.latest is not None:
            watched.is_gone = True
            watched.wake()


def _offer(watched: _Watched, payload: Mapping[str, Any]) -> None:
    """Take an event's job. One that another version wrote and we can't read is left to the next re-read."""
    try:
        watched.offer(from_view(payload["job"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        _log.warning("watch.unreadable_event", job_id=str(payload.get("job_id"))[:64])
