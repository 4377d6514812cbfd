"""Clones on Kubernetes: one Job each, and everything else of the clone owned by it.

The cluster is the record: names derive from the clone's id, so any worker finds what another made. A worker writes copied files
to its own staging directory; `expose` sends them to the receiver in the clone's pod. What the pod waits for is told as it
happens and decides whether the step fails at once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from workers.pages import Pages
from workers.removal import remove_tree
from workers.runtimes import Content, Place, Tell, quietly
from workers.runtimes.causes import Cause, causes, ended, is_ready, takes_files
from workers.runtimes.cluster_api import EVENTS, HTTP_ROUTES, INGRESSES, JOBS, PODS, SERVICES, ApiRefused, ApiUnavailable
from workers.runtimes.manifests import (
    CLONE_LABEL,
    DOCROOT,
    EXPIRES_AT,
    FINALIZER,
    GUARD_STATE,
    LINGER,
    RECEIVER_PORT,
    SELECTOR,
    SERVING,
    CloneShape,
    Manifest,
    job,
    owned,
    receiver_service,
    released,
)  # fmt: skip
from workers.runtimes.receiver import Receiver
from workers.runtimes.reflector import Reflector, ReflectorParts
from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.core.jobs.view import from_rfc3339, rfc3339
from wpclone.core.supervise import Loop
from wpclone.wordpress.blocking import blocking

_log = structlog.get_logger(__name__)

_LOOK_AGAIN = 5.0
"""Seconds after which a waiter looks at its copy again although nothing rang: graces end by time alone."""
_NO_LOGS = "unable to retrieve container logs"
"""The kubelet's words when it has thrown them away."""
_ROUTE_SECONDS = 60.0
_GONE_SECONDS = 90.0


@dataclass(frozen=True)
class KubernetesParts:
    """What the runtime works with. `key_of` is a clone's receiver key: the same for every worker. `patience` is how long `ready`
    waits, in seconds. `staging` is on a disk all workers share. `egress` says in words what holds outbound traffic."""

    shape: CloneShape
    reflecting: ReflectorParts
    staging: Path
    egress: str
    key_of: Callable[[str], bytes]
    randomness: Randomness
    patience: float


class KubernetesRuntime:
    """The `kubernetes` runtime in one namespace of one cluster."""

    name = "kubernetes"

    def __init__(self, parts: KubernetesParts) -> None:
        self._parts, self._shape = parts, parts.shape
        self._api, self._clock, self._bell = parts.reflecting.api, parts.reflecting.clock, parts.reflecting.bell
        reflecting = parts.reflecting
        self._jobs = Reflector(reflecting, JOBS, SELECTOR, _clone_of)
        self._pods = Reflector(reflecting, PODS, SELECTOR, _clone_of)
        # Events carry no labels: the namespace holds clones and nothing else, and an object is named after its clone.
        self._events = Reflector(reflecting, EVENTS, "", lambda event: _event_subject(event)[:_CLONE_NAME])

    def loops(self) -> list[Loop]:
        """What must run while the runtime is used: one reflector per kind."""
        kinds = {"jobs": self._jobs, "pods": self._pods, "events": self._events}
        return [Loop(f"reflect_{kind}", reflector.run, 1.0) for kind, reflector in kinds.items()]

    async def lacking(self) -> str:
        """Why this account can make no clones in this cluster; empty when it can, or when nobody can tell now."""
        routes = HTTP_ROUTES if self._shape.route == "gateway" else INGRESSES
        for kind in (JOBS, PODS, EVENTS, SERVICES, routes):
            try:
                await self._api.list(kind, self._shape.namespace, SELECTOR)
            except ApiRefused as refused:
                return f"{kind.plural} cannot be listed there: {refused}"
            except ApiUnavailable as error:
                _log.warning("cluster.unavailable", error=str(error))
                return ""
        return ""

    async def create(self, clone_id: str) -> Place:
        """See Runtime.create."""
        async with _told():
            found = await self._api.get(JOBS, self._shape.namespace, clone_id)
            if found is None:
                # The Job's template is immutable: it is applied when there is none, and never over one.
                found = await self._api.apply(job(self._shape, clone_id))
            self._living(clone_id, found)
            if found["spec"].get("suspend"):
                uid = found["metadata"]["uid"]
                for manifest in owned(self._shape, clone_id, uid, self._parts.key_of(clone_id)):
                    await self._api.apply(manifest)
                found = await self._api.patch(JOBS, self._shape.namespace, clone_id, released(uid))
        await blocking(_make_staging, self._staging(clone_id))
        return self._place(found)

    async def ready(self, clone_id: str, tell: Tell = quietly) -> Place:
        """See Runtime.ready. Returns when the pod's containers run; raises what keeps them from it."""
        place = self._place(await self._job(clone_id))
        await self._awaited(clone_id, is_ready, tell)
        return place

    async def _awaited(self, clone_id: str, is_there: Callable[[Manifest], bool], tell: Tell) -> None:
        """Wait until there is such a pod of this clone; raise what keeps it from being there."""
        waiting = _Waiting(self._clock.monotonic)
        end = self._clock.monotonic() + self._parts.patience
        while True:
            if any(is_there(pod) for pod in self._pods.of(clone_id)):
                return
            cause = await self._judge(clone_id, waiting, tell)
            left = end - self._clock.monotonic()
            if left <= 0:
                raise self._late(cause)
            await self._bell.rung(min(left, _LOOK_AGAIN))

    async def _judge(self, clone_id: str, waiting: _Waiting, tell: Tell) -> Cause | None:
        """Tell the worst cause there is now; raise Fatal when its grace is over."""
        found = self._jobs.of(clone_id)
        if not found:
            return None
        told = causes(found[0], self._pods.of(clone_id), self._events.of(clone_id))
        over = waiting.over(told)
        if over:
            raise Fatal(over.code, over.message + await self._last_words(clone_id, over))
        sentence = told[0].message if told else ""
        if waiting.is_news(sentence):
            tell(sentence)
        return told[0] if told else None

    async def _last_words(self, clone_id: str, cause: Cause) -> str:
        """What the container wrote last, for a crash."""
        pods = self._pods.of(clone_id)
        if not cause.container or not pods:
            return ""
        name = str(pods[-1]["metadata"]["name"])
        for previous in (True, False):
            text = await self._api.log_tail(self._shape.namespace, name, cause.container, previous=previous)
            if text.strip() and not text.startswith(_NO_LOGS):
                return " Its last lines: " + " | ".join(text.strip().splitlines()[-10:])[-800:]
        return ""

    def _late(self, cause: Cause | None) -> RetryLater:
        if cause:
            return RetryLater(cause.code, cause.message)
        if not (self._pods.is_fresh and self._jobs.is_fresh):
            return RetryLater("CLUSTER_UNAVAILABLE", "The Kubernetes API server cannot be watched now.")
        return RetryLater("CLONE_NOT_READY", f"The clone's pod was not ready within {self._parts.patience:.0f} seconds.")

    async def expose(self, clone_id: str, content: Content, tell: Tell = quietly) -> Place:
        """See Runtime.expose. The pod gets its files as soon as its receiver runs."""
        place = self._place(await self._job(clone_id))
        await self._awaited(clone_id, takes_files, tell)
        receiver = await self._receiver(clone_id)
        if not await receiver.has_site():
            await receiver.send(self._staging(clone_id), self._parts.randomness(8).hex())
        await receiver.give(content)
        await self._awaited(clone_id, is_ready, tell)
        await self._answering(place.url)
        found = await self._annotate(clone_id, {SERVING: "true"})
        await remove_tree(self._staging(clone_id))
        return self._place(found)

    async def describe(self, clone_id: str) -> Place | None:
        """See Runtime.describe."""
        async with _told():
            found = await self._api.get(JOBS, self._shape.namespace, clone_id)
        return None if found is None or _is_going(found) else self._place(found)

    async def delete(self, clone_id: str) -> None:
        """See Runtime.delete. Returns when all that the Job owned has gone: `forget` lets the Job go."""
        await remove_tree(self._staging(clone_id))
        namespace, is_asked = self._shape.namespace, False
        end = self._clock.monotonic() + _GONE_SECONDS
        while True:
            async with _told():
                found = await self._api.get(JOBS, namespace, clone_id)
                if found is None or (is_asked and _is_bare(found)):
                    return
                if not is_asked:
                    # Also of a Job that somebody has deleted: kubectl does so in the background, and what it owns then stays.
                    await self._api.delete(JOBS, namespace, clone_id, found["metadata"]["uid"])
                    is_asked = True
                    continue
            if self._clock.monotonic() > end:
                raise RetryLater("CLONE_NOT_GONE", "The clone's objects are still being removed from the cluster.")
            await self._bell.rung(1.0)

    async def forget(self, clone_id: str) -> None:
        """See Runtime.forget. A Job that nobody deletes keeps its finalizer."""
        async with _told():
            found = await self._api.get(JOBS, self._shape.namespace, clone_id)
            if found is None or not _is_going(found):
                return
            metadata = found["metadata"]
            # With the version: the garbage collector takes its own name off the same list.
            kept = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            kept["finalizers"] = [name for name in metadata.get("finalizers", ()) if name != FINALIZER]
            await self._api.patch(JOBS, self._shape.namespace, clone_id, {"metadata": kept})

    async def list(self) -> list[Place]:
        """See Runtime.list."""
        async with _told():
            found, _ = await self._api.list(JOBS, self._shape.namespace, SELECTOR)
        return [self._place(each) for each in found if _clone_of(each)]

    async def extend(self, clone_id: str, expires_at: datetime) -> None:
        """See Runtime.extend: the cluster's own deadline comes ten minutes later."""
        found = await self._job(clone_id)
        started = (found.get("status") or {}).get("startTime")
        deadline = self._shape.setup_seconds
        if started:
            life = expires_at - from_rfc3339(started) + timedelta(seconds=LINGER)
            deadline = max(1, math.ceil(life.total_seconds()))
        if (found["metadata"].get("annotations") or {}).get(SERVING):
            receiver = await self._receiver(clone_id)
            await receiver.tell_expiry(rfc3339(expires_at))
        await self._annotate(clone_id, {EXPIRES_AT: rfc3339(expires_at)}, {"activeDeadlineSeconds": deadline})

    async def _annotate(self, clone_id: str, notes: Mapping[str, str], spec: Mapping[str, Any] | None = None) -> Manifest:
        """Change this very Job's annotations and, with `spec`, its deadline."""
        found = await self._job(clone_id)
        body: Manifest = {"metadata": {"uid": found["metadata"]["uid"], "annotations": dict(notes)}}
        if spec:
            body["spec"] = dict(spec)
        async with _told():
            return await self._api.patch(JOBS, self._shape.namespace, clone_id, body)

    async def _job(self, clone_id: str) -> Manifest:
        """The clone's Job as the API server has it now. Raises Fatal(NOT_FOUND, CLONE_EXPIRED) and RetryLater."""
        async with _told():
            found = await self._api.get(JOBS, self._shape.namespace, clone_id)
        if found is None:
            raise Fatal("NOT_FOUND", f"There is no {clone_id} in this cluster.")
        self._living(clone_id, found)
        return found

    def _living(self, clone_id: str, found: Manifest) -> None:
        if _clone_of(found) != clone_id:
            raise Fatal("NAME_TAKEN", f"A Job named {clone_id} is in the clones' namespace and is not a clone's.")
        over = ended(found)
        if over:
            raise Fatal(over.code, over.message)

    async def _receiver(self, clone_id: str) -> Receiver:
        """The clone's receiver at its Service's address: no name needs to be resolved."""
        async with _told():
            service = await self._api.get(SERVICES, self._shape.namespace, receiver_service(clone_id))
        if service is None:
            raise Fatal("NOT_FOUND", f"The Service of {clone_id} has gone from this cluster.")
        address = str(service["spec"]["clusterIP"])
        host = f"[{address}]" if ":" in address else address
        return Receiver(f"http://{host}:{RECEIVER_PORT}", self._parts.key_of(clone_id), self._clock)

    async def _answering(self, url: str) -> None:
        """Wait until the clone's public address leads to it. Raises RetryLater(ROUTE_NOT_READY), with what the gateway says."""
        end = self._clock.monotonic() + _ROUTE_SECONDS
        pages = Pages()
        while True:
            try:
                if (await pages.get(url + "/robots.txt")).status == 200:
                    return
            except RetryLater:
                if self._clock.monotonic() > end:
                    raise
            if self._clock.monotonic() > end:
                raise RetryLater("ROUTE_NOT_READY", await self._route_says(url))
            await self._clock.sleep(0.25)

    async def _route_says(self, url: str) -> str:
        """What the gateway says about the clone's route, as far as it says anything."""
        sentence = f"The clone runs, but {url} does not lead to it."
        if self._shape.route != "gateway":
            return sentence
        name = url.partition("://")[2].partition(".")[0]
        async with _told():
            route = await self._api.get(HTTP_ROUTES, self._shape.namespace, name) or {}
        for parent in (route.get("status") or {}).get("parents") or ():
            for condition in parent.get("conditions") or ():
                if condition.get("status") == "False":
                    return f"{sentence} The gateway says: {condition.get('message') or condition.get('reason')}."
        return sentence

    def _staging(self, clone_id: str) -> Path:
        return self._parts.staging / clone_id

    def _place(self, found: Manifest) -> Place:
        clone_id = found["metadata"]["name"]
        notes = found["metadata"].get("annotations") or {}
        return Place(
            clone_id, self._shape.url(clone_id), DOCROOT, self._staging(clone_id), GUARD_STATE,
            self._shape.database_host, self._shape.database_port, self._parts.egress,
            is_serving=notes.get(SERVING) == "true",
            expires_at=from_rfc3339(notes[EXPIRES_AT]) if notes.get(EXPIRES_AT) else None,
            is_ended=_is_going(found),
        )  # fmt: skip


class _Waiting:
    """Since when each cause stands, for one wait."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}
        self._told = ""

    def over(self, standing: list[Cause]) -> Cause | None:
        """The first cause whose grace is over; those that no longer stand are forgotten."""
        now = self._monotonic()
        self._since = {cause.code: self._since.get(cause.code, now) for cause in standing}
        return next((c for c in standing if c.grace is not None and now - self._since[c.code] >= c.grace), None)

    def is_news(self, sentence: str) -> bool:
        """Whether this sentence has not just been told."""
        news, self._told = sentence != self._told, sentence
        return news


_CLONE_NAME = len("clone-1a2b3c4d5e6f")


def _clone_of(thing: Manifest) -> str:
    labels = thing["metadata"].get("labels") or {}
    return str(labels.get(CLONE_LABEL, ""))


def _event_subject(event: Manifest) -> str:
    return str((event.get("involvedObject") or {}).get("name", ""))


def _is_going(thing: Manifest) -> bool:
    return bool(thing["metadata"].get("deletionTimestamp"))


def _is_bare(job: Manifest) -> bool:
    """Whether nothing but the database keeps this Job: all that it owned has gone."""
    return _is_going(job) and job["metadata"].get("finalizers") == [FINALIZER]


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """The API server's refusals and silences as outcomes of a step."""
    try:
        yield
    except ApiUnavailable as error:
        after = timedelta(seconds=error.after) if error.after else None
        raise RetryLater("CLUSTER_UNAVAILABLE", f"Kubernetes cannot be asked now: {error}.", after=after) from error
    except ApiRefused as refused:
        text = " ".join(str(refused).split())[:400]
        if refused.code == 409 or (refused.code == 403 and "being terminated" in text):
            raise RetryLater("CLUSTER_CONFLICT", f"Kubernetes was changing the same thing: {text}.") from refused
        if refused.code == 403 and "exceeded quota" in text:
            raise RetryLater("QUOTA_EXCEEDED", f"The clones' namespace has no room: {text}.") from refused
        if refused.code == 404:
            raise Fatal("CLUSTER_INCOMPLETE", f"The cluster lacks what clones need: {text}.") from refused
        raise Fatal("CLUSTER_REFUSED", f"Kubernetes refuses what clones need: {text}.") from refused


def _make_staging(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
