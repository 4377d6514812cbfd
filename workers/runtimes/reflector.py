"""Keeps a copy of all objects of one kind, by watching: one connection however many clones wait.

List, then watch from there. Anything that is not a Kubernetes event is an error; every error pauses, with full jitter up to 30
seconds or as long as the server asks; also a clean end of the stream pauses a little. 410 lists anew. A connection that has gone
silent is given up after 75 seconds: the server sends bookmarks every minute.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog

from workers.runtimes.cluster_api import ApiRefused, ApiUnavailable, ClusterApi, Kind
from workers.runtimes.manifests import Manifest
from wpclone.core.clock import Clock
from wpclone.core.jobs.retry import Chance
from wpclone.core.metrics import Metrics

_log = structlog.get_logger(__name__)

SHORTEST_PAUSE, FIRST_PAUSE, LONGEST_PAUSE = 0.2, 0.8, 30.0
WATCH_SECONDS = 240.0
SILENCE_SECONDS = 75.0

Key = Callable[[Manifest], str]
"""What an object belongs to: waiters ask by it."""


class Gone(Exception):
    """The version we watched from is compacted away: list anew."""


class Bell:
    """Wakes everybody who waits for a change of whatever kind."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait now; the next waits for the next ring."""
        self._event.set()
        self._event = asyncio.Event()

    async def rung(self, within: float) -> None:
        """Return at the next ring, or after `within` seconds."""
        event = self._event
        try:
            async with asyncio.timeout(within):
                await event.wait()
        except TimeoutError:
            return


@dataclass(frozen=True)
class ReflectorParts:
    """What the reflectors of a process share. `namespace` is the clones'."""

    api: ClusterApi
    namespace: str
    bell: Bell
    clock: Clock
    chance: Chance
    metrics: Metrics


class Reflector:
    """The objects of one kind in one namespace. `selector` is of labels, `key` what an object belongs to."""

    def __init__(self, parts: ReflectorParts, kind: Kind, selector: str, key: Key) -> None:
        self._api, self._namespace, self._clock, self._chance = parts.api, parts.namespace, parts.clock, parts.chance
        self._metrics, self._bell = parts.metrics, parts.bell
        self._kind, self._selector, self._key = kind, selector, key
        self._objects: dict[str, Manifest] = {}
        self._version = ""
        self._failures = 0
        self._has_heard = False
        self._is_fresh = False

    @property
    def is_fresh(self) -> bool:
        """Whether the copy is a list's or newer; until the first list it says nothing about what is not there."""
        return self._is_fresh

    def of(self, key: str) -> list[Manifest]:
        """The objects that belong to `key`."""
        return [each for each in self._objects.values() if self._key(each) == key]

    async def run(self) -> None:
        """Reflect until cancelled. Pauses after whatever ended a watch, so that no failure becomes a storm of requests."""
        while True:
            await self._clock.sleep(await self._once())

    async def _once(self) -> float:
        """One list where needed and one watch; how long to pause after it."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except Gone:
            self._version = ""
            self._metrics.cluster_relists.labels(self._kind.plural, "gone").inc()
            return self._pause(None)
        except ApiRefused as refused:
            return self._failed(str(refused.code), str(refused), None)
        except ApiUnavailable as unavailable:
            return self._failed(str(unavailable.code or "connection"), str(unavailable), unavailable.after)
        # A stream that ended without a word is how a broken proxy looks; a long one with events is ordinary.
        return SHORTEST_PAUSE + SHORTEST_PAUSE * self._chance() if self._has_heard else self._pause(None)

    def _failed(self, code: str, message: str, after: float | None) -> float:
        self._metrics.cluster_errors.labels(self._kind.plural, code).inc()
        pause = self._pause(after)
        _log.warning("reflector.waits", kind=self._kind.plural, code=code, error=message, seconds=round(pause, 1))
        return pause

    def _pause(self, after: float | None) -> float:
        self._failures += 1
        most = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
        return max(SHORTEST_PAUSE, after or 0.0, most * self._chance())

    async def _list(self) -> None:
        try:
            items, version = await self._api.list(self._kind, self._namespace, self._selector)
        except ApiRefused as refused:
            if refused.code == 410:  # a page's token has expired meanwhile
                raise Gone from None
            raise
        self._objects = {uid: item for item in items if (uid := _uid(item))}
        self._version = version
        self._is_fresh = True
        self._metrics.cluster_relists.labels(self._kind.plural, "list").inc()
        self._bell.ring()

    async def _watch(self) -> None:
        self._has_heard = False
        seconds = WATCH_SECONDS * (1.0 + 0.25 * self._chance())
        try:
            lines = self._api.watch(self._kind, self._namespace, self._selector, self._version, seconds=seconds)
            async with aclosing(lines):
                while True:
                    try:
                        async with asyncio.timeout(SILENCE_SECONDS):
                            line = await anext(lines)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        raise ApiUnavailable("the watch has gone silent") from None
                    if line.strip():
                        self._take(line)
        except ApiRefused as refused:
            if refused.code == 410:
                raise Gone from None
            raise

    def _take(self, line: bytes) -> None:
        """One line of a watch. Raises Gone, ApiRefused, and ApiUnavailable for what is no event."""
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        thing = event.get("object") if isinstance(event, Mapping) else None
        if not isinstance(event, Mapping) or not isinstance(thing, dict) or not isinstance(event.get("type"), str):
            raise ApiUnavailable("the watch sent something that is no event")
        if event["type"] == "ERROR":
            _raise_status(thing)
        version = (thing.get("metadata") or {}).get("resourceVersion")
        if not version:
            raise ApiUnavailable("the watch sent an object without a version")
        self._failures, self._has_heard = 0, True
        self._version = str(version)
        self._metrics.cluster_last_heard.labels(self._kind.plural).set(self._clock.now().timestamp())
        uid = _uid(thing)
        if event["type"] == "BOOKMARK" or not uid:
            return
        if event["type"] == "DELETED":
            self._objects.pop(uid, None)
        else:
            self._objects[uid] = thing
        self._bell.ring()


def _uid(thing: Manifest) -> str:
    metadata: Any = thing.get("metadata")
    return str(metadata.get("uid") or "") if isinstance(metadata, Mapping) else ""


def _raise_status(status: Manifest) -> None:
    code = int(status.get("code") or 0)
    if code == 410:
        raise Gone
    details: Any = status.get("details")
    after = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    raise ApiUnavailable(f"the watch ended with {code}", code=code, after=float(after) if isinstance(after, int) else None)
