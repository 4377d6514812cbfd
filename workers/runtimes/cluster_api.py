"""The narrow port to a Kubernetes API server: six verbs on plain JSON objects, over `kubernetes.aio`.

The library gives configuration, TLS and token rotation; its models are not used, because one partial object would fail a whole
list, and its watch is not used, because it takes error pages for events. Every call has a timeout; every
answer's status is looked at before its body.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from workers.runtimes.manifests import Manifest

FIELD_MANAGER: Final = "wpclone-worker"
SECONDS = 20.0
_MOST_BYTES = 256 << 20
_PAGE = 500
_CONFLICT_PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between tries of a write that met another one at the server."""


@dataclass(frozen=True)
class Kind:
    """One kind of object: where its collection lies below `/api` or `/apis`."""

    group: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Its path in a namespace."""
        root = "/api/v1" if self.group == "v1" else f"/apis/{self.group}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


JOBS = Kind("batch/v1", "jobs")
PODS = Kind("v1", "pods")
EVENTS = Kind("v1", "events")
SERVICES = Kind("v1", "services")
INGRESSES = Kind("networking.k8s.io/v1", "ingresses")
HTTP_ROUTES = Kind("gateway.networking.k8s.io/v1", "httproutes")
_KINDS: Mapping[tuple[str, str], Kind] = {
    ("batch/v1", "Job"): JOBS,
    ("v1", "Secret"): Kind("v1", "secrets"),
    ("v1", "PersistentVolumeClaim"): Kind("v1", "persistentvolumeclaims"),
    ("v1", "Service"): SERVICES,
    ("networking.k8s.io/v1", "NetworkPolicy"): Kind("networking.k8s.io/v1", "networkpolicies"),
    ("networking.k8s.io/v1", "Ingress"): INGRESSES,
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): HTTP_ROUTES,
}


def kind_of(manifest: Manifest) -> Kind:
    """Where an object of this kind lies. Raises KeyError for a kind clones do not have."""
    return _KINDS[manifest["apiVersion"], manifest["kind"]]


class ApiUnavailable(Exception):
    """The API server did not answer, or not as Kubernetes does. `after` is how many seconds it asked us to wait."""

    def __init__(self, message: str, *, code: int = 0, after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.after = after


class ApiRefused(Exception):
    """The API server's `Status`: it understood and will not. `cause` is its machine-readable reason."""

    def __init__(self, code: int, cause: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.cause = cause


class ConfigurationWrong(Exception):
    """No usable address of or credential for a cluster."""


class ClusterApi:
    """One API server as one account. Made by `connect`, which has the library's client and its error for a bad credential."""

    def __init__(self, api: Any, *, unusable: type[Exception]) -> None:
        self._api, self._unusable = api, unusable

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply with our field manager; unknown fields are refused. The object as stored.

        A forced apply overrules other managers, so what it conflicts with is the server's own writing, such as two objects
        counted against one ResourceQuota in the same moment: it is tried again, as client-go's `retry.RetryOnConflict` does.
        """
        metadata = manifest["metadata"]
        path = kind_of(manifest).path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        for pause in _CONFLICT_PAUSES:
            try:
                return await self._apply(path, query, manifest)
            except ApiRefused as refused:
                if refused.cause != "Conflict":
                    raise
            await asyncio.sleep(pause)
        return await self._apply(path, query, manifest)

    async def _apply(self, path: str, query: Mapping[str, str], manifest: Manifest) -> Manifest:
        # Without this content type the same body would be a strategic merge patch.
        return await self._ask("PATCH", path, query, manifest, "application/apply-patch+yaml")

    async def patch(self, kind: Kind, namespace: str, name: str, body: Manifest) -> Manifest:
        """A merge patch; a uid in its metadata keeps it from touching a namesake."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._ask("PATCH", kind.path(namespace, name), query, body, "application/merge-patch+json")

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None."""
        try:
            return await self._ask("GET", kind.path(namespace, name), {})
        except ApiRefused as refused:
            if refused.code == 404:
                return None
            raise

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete this very object and, before it, all it owns. Success when it has gone already."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            await self._ask("DELETE", kind.path(namespace, name), {}, body)
        except ApiRefused as refused:
            # A conflict is the uid's: the one we meant has gone, and somebody made another.
            if refused.code not in (404, 409):
                raise

    async def list(self, kind: Kind, namespace: str, selector: str) -> tuple[list[Manifest], str]:
        """All objects with these labels, in pages, and the resource version to watch from."""
        items: list[Manifest] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = await self._ask("GET", kind.path(namespace), query)
            items += [item for item in page.get("items") or () if isinstance(item, dict)]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def log_tail(self, namespace: str, pod: str, container: str, *, previous: bool) -> str:
        """The last lines a container wrote; empty when there are none."""
        query = {"container": container, "tailLines": "50", "limitBytes": "16384", "previous": str(previous).lower()}
        try:
            async with self._response("GET", PODS.path(namespace, f"{pod}/log"), query, timeout=SECONDS) as response:
                return (await response.content.read(16384)).decode(errors="replace")
        except (ApiRefused, ApiUnavailable):
            return ""

    async def watch(
        self, kind: Kind, namespace: str, selector: str, version: str, *, seconds: float
    ) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, at most `seconds` long. Raises ApiRefused or ApiUnavailable before the first line."""
        query = {
            "watch": "true", "labelSelector": selector, "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(seconds)),
        }  # fmt: skip
        async with self._response("GET", kind.path(namespace), query, timeout=seconds + 30) as response:
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield line
                if len(buffer) > _MOST_BYTES:
                    raise ApiUnavailable("a line of the watch is too long")

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        async with self._response(method, path, query, body, content_type, timeout=SECONDS) as response:
            try:
                answer = json.loads(await response.read())
            except ValueError:
                raise ApiUnavailable("the API server's answer is not JSON", code=response.status) from None
            if not isinstance(answer, dict):
                raise ApiUnavailable("the API server's answer is not an object", code=response.status)
            return answer

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest | None = None,
        content_type: str = "application/json",
        *,
        timeout: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with a good status. `timeout` bounds all of it."""
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(method, f"{path}?{urlencode(query)}" if query else path, body, content_type, timeout)
                if response.status >= 400:
                    raise _refusal(response, await response.content.read(1 << 20))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"the API server does not answer ({type(error).__name__})") from error
        finally:
            if response is not None:
                response.close()

    async def _send(
        self, method: str, address: str, body: Manifest | None, content_type: str, timeout: float
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            method, url, headers, body, _ = await self._api.param_serialize(
                method, address, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        except (ValueError, self._unusable) as error:
            # A token that cannot stand in a header: what rotates it may be in the middle of writing it.
            raise ApiUnavailable("the credential for the API server cannot be used") from error
        response: aiohttp.ClientResponse = answer.response
        return response


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> ApiRefused | ApiUnavailable:
    """429, 5xx and whatever is no `Status` of Kubernetes mean: not now. The rest is an answer."""
    try:
        status = json.loads(body)
    except ValueError:
        status = None
    if response.status in (408, 429) or response.status >= 500 or not isinstance(status, dict) or status.get("kind") != "Status":
        return ApiUnavailable(
            f"the API server answered {response.status}",
            code=response.status,
            after=_seconds(response.headers.get("Retry-After")),
        )
    return ApiRefused(response.status, str(status.get("reason", "")), str(status.get("message", "")))


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its date form is not used by Kubernetes and is not read."""
    return min(float(text), 60.0) if text and text.isdecimal() else None


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[ClusterApi]:
    """The API server of a kubeconfig file, or of the pod we run in. Raises ConfigurationWrong."""
    try:
        # Only here: the library takes 80 MB and a second, and cannot be imported by an account without a home directory.
        from kubernetes.aio import client, config  # noqa: PLC0415
    except RuntimeError as error:
        raise ConfigurationWrong(f"the Kubernetes library needs HOME: {error}") from error
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    except (config.ConfigException, OSError, ValueError) as error:
        raise ConfigurationWrong(str(error)) from error
    async with client.ApiClient(configuration) as api:
        yield ClusterApi(api, unusable=config.ConfigException)
