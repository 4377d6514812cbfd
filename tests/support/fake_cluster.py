"""An API server on loopback that tells what a test wants: enough of Kubernetes for the runtime, and every way to misbehave.

It keeps objects, answers apply, patch, delete, list and watch, and plays the Job controller: a released Job gets a pod, a deleted
one goes with all it owns. Each clone's receiver answers at the clusterIP of its Service, an address of 127/8. `misbehave` gives
the next requests of a kind other answers; `made` hears of each new object's plural, name and address.
"""

import asyncio
import json
import secrets
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.support.places import free_port

Object = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NAMESPACE = "clones"
PODS_READY: Object = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"}],
    "initContainerStatuses": [{"name": "receiver", "started": True, "state": {"running": {}}}],
}


def pending(reason: str, message: str = "", *, restarts: int = 0, last: Object | None = None) -> Object:
    """The status of a pod one of whose containers waits for `reason`."""
    container = {
        "name": "wordpress", "image": "registry.example/clone:1", "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}}, "lastState": {"terminated": last} if last else {},
    }  # fmt: skip
    return {"phase": "Pending", "conditions": [], "initContainerStatuses": [container]}


def status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error as Kubernetes words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code, headers=headers)


@dataclass
class FakeCluster:
    """The server's state. `requests` counts (verb, plural); `tokens` are the credentials it saw."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: list[str] = field(default_factory=list)
    pod_status: Object | None = field(default_factory=lambda: dict(PODS_READY))
    logs: str = ""
    made: Callable[[str, str, str], None] = field(default=lambda plural, name, address: None)
    port: int = 0
    _misbehaviours: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    _watchers: set[asyncio.Queue[Object | None]] = field(default_factory=set)
    _version: int = 100
    _addresses: int = 1
    # By chance, so that two runs of the tests on one machine do not meet.
    _network: str = field(default_factory=lambda: f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}")

    def misbehave(self, verb: str, plural: str, *answers: Answer) -> None:
        """Answer the next requests of this kind so, one after the other; the last one for ever when it is the same function."""
        self._misbehaviours.setdefault((verb, plural), []).extend(answers)

    def behave(self) -> None:
        self._misbehaviours.clear()

    def put(self, plural: str, thing: Object, *, deleted: bool = False) -> Object:
        """Store an object (or take it away) and tell the watchers."""
        self._version += 1
        metadata = thing["metadata"]
        metadata.setdefault("uid", f"uid-{plural}-{metadata['name']}-{self._version}")
        metadata["resourceVersion"] = str(self._version)
        key = (plural, metadata["name"])
        kind = "DELETED" if deleted else "MODIFIED" if key in self.objects else "ADDED"
        if deleted:
            self.objects.pop(key, None)
        else:
            self.objects[key] = thing
        for queue in self._watchers:
            queue.put_nowait({"plural": plural, "type": kind, "object": json.loads(json.dumps(thing))})
        return thing

    def pod_of(self, clone_id: str) -> Object:
        return self.objects["pods", f"{clone_id}-0"]

    def set_pod(self, clone_id: str, status: Object) -> None:
        self.put("pods", {**self.pod_of(clone_id), "status": status})

    def tell_event(self, about: Object, reason: str, message: str) -> None:
        """An event about an object, as core/v1 has them."""
        self._version += 1
        name = f"{about['metadata']['name']}.{self._version:x}"
        subject = {"name": about["metadata"]["name"], "uid": about["metadata"]["uid"]}
        event = {"metadata": {"name": name}, "involvedObject": subject, "reason": reason, "message": message, "eventTime": None}
        self.put("events", event)

    def compact(self) -> None:
        """End all watches; old versions are 410 from now on."""
        for queue in self._watchers:
            queue.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        plural, _, name = request.match_info["rest"].partition("/")
        name, _, sub = name.partition("/")
        watching = request.query.get("watch") == "true"
        verb = (
            "log" if sub == "log" else "watch" if watching else "list" if request.method == "GET" and not name else request.method
        )
        self.requests[verb, plural] += 1
        self.tokens.append(request.headers.get("Authorization", ""))
        planned = self._misbehaviours.get((verb, plural))
        if planned:
            answer = planned[0] if len(planned) == 1 else planned.pop(0)
            return await answer(request)
        if verb == "watch":
            return await self._watch(request, plural)
        if verb == "log":
            return web.Response(text=self.logs)
        if verb == "list":
            items = [thing for (kind, _), thing in self.objects.items() if kind == plural]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(self._version)}})
        return await self._one(request, plural, name)

    async def _one(self, request: web.Request, plural: str, name: str) -> web.Response:
        found = self.objects.get((plural, name))
        body = json.loads(await request.text() or "{}")
        if request.headers.get("Content-Type") == "application/apply-patch+yaml":
            assert request.query["fieldManager"] == "wpclone-worker"
            assert request.query["fieldValidation"] == "Strict"
            return web.json_response(self._applied(plural, found, body))
        if found is None:
            return status(404, "NotFound", f'{plural} "{name}" not found')
        uid = (body.get("metadata") or {}).get("uid") or (body.get("preconditions") or {}).get("uid")
        if uid and uid != found["metadata"]["uid"]:
            return status(409, "Conflict", "the UID in the precondition does not match")
        if request.method == "DELETE":
            assert body["propagationPolicy"] == "Foreground"
            self._remove(found)
        elif request.method == "PATCH":
            version = body["metadata"].get("resourceVersion", found["metadata"]["resourceVersion"])
            if version != found["metadata"]["resourceVersion"]:
                return status(409, "Conflict", "the object has been modified")
            merged = _merged(found, body)
            is_over = merged["metadata"].get("deletionTimestamp") and not merged["metadata"].get("finalizers")
            found = self.put(plural, merged, deleted=bool(is_over))
            if plural == "jobs" and not is_over and not merged["spec"].get("suspend"):
                self._run(merged)
        return web.json_response(found)

    def _applied(self, plural: str, found: Object | None, body: Object) -> Object:
        thing = _merged(found, body) if found else body
        if plural == "services" and found is None:
            self._addresses += 1
            thing["spec"]["clusterIP"] = f"{self._network}.{self._addresses}"
        if found is None:
            self.made(plural, thing["metadata"]["name"], thing["spec"].get("clusterIP", "") if "spec" in thing else "")
        return self.put(plural, thing)

    def _run(self, job: Object) -> None:
        """The Job controller: a released Job has one pod and a start."""
        name = f"{job['metadata']['name']}-0"
        job.setdefault("status", {}).setdefault("startTime", "2031-01-01T00:00:00Z")
        if self.pod_status is None or ("pods", name) in self.objects:
            return
        owner = [{"uid": job["metadata"]["uid"]}]
        metadata = {"name": name, "labels": job["metadata"]["labels"], "ownerReferences": owner}
        self.put("pods", {"metadata": metadata, "status": json.loads(json.dumps(self.pod_status))})

    def _remove(self, job: Object) -> None:
        """The garbage collector: what the object owned goes too, and the object itself once no finalizer holds it."""
        uid = job["metadata"]["uid"]
        for (plural, _), thing in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in thing["metadata"].get("ownerReferences", ())):
                self.put(plural, thing, deleted=True)
        if job["metadata"].get("finalizers"):
            job["metadata"].setdefault("deletionTimestamp", "2031-01-01T00:00:00Z")
        self.put("jobs", job, deleted=not job["metadata"].get("finalizers"))

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        queue: asyncio.Queue[Object | None] = asyncio.Queue()
        self._watchers.add(queue)
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            since = int(request.query["resourceVersion"] or 0)
            missed = [
                t for (kind, _), t in self.objects.items() if kind == plural and int(t["metadata"]["resourceVersion"]) > since
            ]
            for thing in missed:
                await response.write(json.dumps({"type": "MODIFIED", "object": thing}).encode() + b"\n")
            while (event := await queue.get()) is not None:
                if event.pop("plural") == plural:
                    await response.write(json.dumps(event).encode() + b"\n")
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
        finally:
            self._watchers.discard(queue)
        return response

    def kubeconfig(self, directory: Path) -> Path:
        """A kubeconfig file that leads here."""
        path = directory / "kubeconfig"
        path.write_text(
            yaml.safe_dump({
                "apiVersion": "v1", "kind": "Config", "current-context": "fake",
                "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                "users": [{"name": "fake", "user": {"token": "a-token"}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            })
        )  # fmt: skip
        return path


def _merged(old: Object, new: Object) -> Object:
    """A merge patch."""
    merged = dict(old)
    for name, value in new.items():
        merged[name] = _merged(merged.get(name) or {}, value) if isinstance(value, dict) else value
    return merged


@asynccontextmanager
async def fake_cluster(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeCluster]:
    """A fake API server that serves."""
    cluster = FakeCluster(port=free_port())
    app = web.Application()
    for root in ("/api/v1", "/apis/{group}/{version}"):
        app.router.add_route("*", root + "/namespaces/" + NAMESPACE + "/{rest:.+}", cluster.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", cluster.port, ssl_context=tls).start()
    try:
        yield cluster
    finally:
        await runner.cleanup()
