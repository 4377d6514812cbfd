"""Every way an API server fails a watch, against a real client: bounded requests, and right again afterwards."""

import asyncio
import datetime
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Self

import pytest
from aiohttp import web
from kubernetes.aio.config import incluster_config

from tests.support.fake_cluster import FakeCluster, Object, fake_cluster, status
from tests.support.kubernetes_bench import reflecting
from tests.support.places import open_directory
from tests.support.wait import until_async
from workers.runtimes import reflector as module
from workers.runtimes.cluster_api import JOBS, PODS, ApiRefused, ApiUnavailable, ConfigurationWrong, connect
from workers.runtimes.reflector import Reflector
from wpclone.core.clock import SystemClock

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stopwatch(SystemClock):
    """A clock that notes the pauses that were asked for, and takes a fraction of each."""

    def __init__(self, share: float = 1.0) -> None:
        self.pauses: list[float] = []
        self._share = share

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(seconds * self._share)


@dataclass
class Watching:
    cluster: FakeCluster
    pods: Reflector
    clock: Stopwatch

    async def knows(self, name: str) -> bool:
        return any(pod["metadata"]["name"] == name for pod in self.pods.of("all"))

    async def sees(self, name: str) -> None:
        await until_async(lambda: self.knows(name), within=30)

    def put(self, name: str) -> Object:
        return self.cluster.put("pods", {"metadata": {"name": name, "labels": {}}})


@asynccontextmanager
async def watching(share: float = 1.0) -> AsyncIterator[Watching]:
    """A reflector of pods at work."""
    clock = Stopwatch(share)
    with open_directory("reflector") as directory:
        async with fake_cluster() as cluster, connect(cluster.kubeconfig(directory)) as api:
            pods = Reflector(reflecting(api, clock), PODS, "", lambda pod: "all")
            task = asyncio.create_task(pods.run())
            try:
                yield Watching(cluster, pods, clock)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def text(code: int, body: str, content_type: str, **headers: str) -> web.Response:
    return web.Response(status=code, text=body, content_type=content_type, headers=headers)


async def html_with_status_200(request: web.Request) -> web.StreamResponse:
    return await text(200, "<html>login, please</html>\n<p>", "text/html")


async def bad_gateway(request: web.Request) -> web.StreamResponse:
    return await text(502, "<html>Bad Gateway</html>", "text/html")


async def empty_503(request: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def too_many(request: web.Request) -> web.StreamResponse:
    return await text(429, "Too many requests, please try again later.\n", "text/plain", **{"Retry-After": "7"})


async def end_at_once(request: web.Request) -> web.StreamResponse:
    return web.Response(status=200)


async def forbidden(request: web.Request) -> web.StreamResponse:
    return status(403, "Forbidden", "pods is forbidden: User cannot watch resource")


async def gone(request: web.Request) -> web.StreamResponse:
    return status(410, "Expired", "too old resource version")


async def cut_the_line(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def event_without_version(request: web.Request) -> web.StreamResponse:
    return await text(200, json.dumps({"type": "ADDED", "object": {"metadata": {}}}) + "\n", "application/json")


async def internal_error_event(request: web.Request) -> web.StreamResponse:
    error = {"kind": "Status", "code": 500, "message": "etcd is away", "details": {"retryAfterSeconds": 3}}
    return await text(200, json.dumps({"type": "ERROR", "object": error}) + "\n", "application/json")


FAILURES = [
    html_with_status_200, bad_gateway, empty_503, too_many, end_at_once, forbidden, cut_the_line, event_without_version,
    internal_error_event,
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
async def test_a_watch_that_fails_for_ever_is_no_storm_of_requests(failure: Answer) -> None:
    async with watching(share=0.001) as watch:
        watch.cluster.misbehave("watch", "pods", failure)
        await until_async(lambda: _true(len(watch.clock.pauses) >= 12), within=60)
        asked = sum(watch.clock.pauses[:12])
        assert all(pause >= module.SHORTEST_PAUSE for pause in watch.clock.pauses)
        assert asked > 24, f"12 requests in {asked:.1f} s is more than one every two seconds"
        assert watch.cluster.requests["list", "pods"] == 1


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
async def test_what_happened_during_a_failure_is_seen_after_it(failure: Answer) -> None:
    async with watching(share=0.01) as watch:
        watch.cluster.misbehave("watch", "pods", failure)
        await until_async(lambda: _true(len(watch.clock.pauses) >= 2), within=30)
        watch.put("meanwhile")
        watch.cluster.behave()
        await watch.sees("meanwhile")


async def test_the_server_says_how_long_to_wait_and_is_obeyed() -> None:
    async with watching(share=0.001) as watch:
        watch.cluster.misbehave("watch", "pods", too_many)
        await until_async(lambda: _true(len(watch.clock.pauses) >= 3), within=30)
        assert all(pause >= 7 for pause in watch.clock.pauses)


@pytest.mark.parametrize("where", ["in the stream", "as an answer"])
async def test_a_compacted_version_lists_anew_and_forgets_what_is_gone(where: str) -> None:
    async with watching(share=0.01) as watch:
        gone_pod = watch.put("short")
        await watch.sees("short")
        if where == "as an answer":
            watch.cluster.misbehave("watch", "pods", gone)
        del watch.cluster.objects["pods", "short"]
        watch.cluster.compact()
        await until_async(lambda: _true(not watch.pods.of("all")), within=30)
        watch.cluster.behave()
        watch.put("new")
        await watch.sees("new")
        assert watch.cluster.requests["list", "pods"] >= 2
        assert gone_pod["metadata"]["name"] == "short"


async def test_a_gone_that_stays_is_no_storm_either() -> None:
    async with watching(share=0.001) as watch:
        watch.cluster.misbehave("watch", "pods", gone)
        await until_async(lambda: _true(len(watch.clock.pauses) >= 12), within=60)
        assert sum(watch.clock.pauses[:12]) > 24


async def test_a_connection_that_has_gone_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.3)

    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async with watching(share=0.01) as watch:
        watch.cluster.misbehave("watch", "pods", silent)
        await until_async(lambda: _true(watch.cluster.requests["watch", "pods"] >= 2), within=30)
        watch.cluster.behave()
        watch.put("after")
        await watch.sees("after")


async def test_objects_that_lack_parts_are_kept_as_they_are() -> None:
    async with watching() as watch:
        await until_async(lambda: _true(watch.pods.is_fresh), within=30)
        watch.cluster.put("pods", {"metadata": {"name": "bare"}, "spec": None})
        await watch.sees("bare")


async def test_an_object_of_three_megabytes_is_one_event() -> None:
    async with watching() as watch:
        await until_async(lambda: _true(watch.pods.is_fresh), within=30)
        watch.cluster.put("pods", {"metadata": {"name": "large"}, "spec": {"text": "x" * 3_000_000}})
        await watch.sees("large")


async def test_a_deleted_object_is_forgotten() -> None:
    async with watching() as watch:
        pod = watch.put("short")
        await watch.sees("short")
        watch.cluster.put("pods", pod, deleted=True)
        await until_async(lambda: _true(not watch.pods.of("all")), within=30)


async def test_each_request_carries_the_credential() -> None:
    async with watching() as watch:
        watch.put("one")
        await watch.sees("one")
        assert set(watch.cluster.tokens) == {"Bearer a-token"}


async def test_a_rotated_token_is_used_within_a_minute_and_a_half_written_one_is_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ahead = datetime.timedelta()

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return super().now(tz) + ahead

    with open_directory("in-cluster") as directory:
        certificate, key, token = directory / "ca.crt", directory / "ca.key", directory / "token"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
             "-out", certificate, "-subj", "/CN=fake", "-addext", "subjectAltName=IP:127.0.0.1",
             "-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        token.write_text("first")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
        monkeypatch.setattr(incluster_config, "datetime", SimpleNamespace(datetime=Shifted, timedelta=datetime.timedelta))
        async with fake_cluster(tls) as cluster:
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
            async with connect(None) as api:
                await api.get(JOBS, "clones", "any")
                token.write_text("half\n")
                ahead = datetime.timedelta(seconds=61)
                with pytest.raises(ApiUnavailable):
                    await api.get(JOBS, "clones", "any")
                token.write_text("second")
                ahead = datetime.timedelta(seconds=122)
                await api.get(JOBS, "clones", "any")
        assert [seen.lower() for seen in cluster.tokens] == ["bearer first", "bearer second"]


async def test_a_broken_configuration_is_one_clear_error() -> None:
    with open_directory("kubeconfig") as directory, pytest.raises(ConfigurationWrong):
        async with connect(directory / "missing"):
            pass


async def test_outside_of_a_pod_there_is_no_cluster_without_a_kubeconfig() -> None:
    with pytest.raises(ConfigurationWrong):
        async with connect(None):
            pass


async def test_an_api_server_that_is_away_is_unavailable_and_not_refused() -> None:
    with open_directory("away") as directory:
        async with fake_cluster() as cluster:
            path = cluster.kubeconfig(directory)
        async with connect(path) as api:
            with pytest.raises(ApiUnavailable):
                await api.get(JOBS, "clones", "any")


async def test_a_refusal_keeps_its_code_and_its_words() -> None:
    with open_directory("refused") as directory:
        async with fake_cluster() as cluster, connect(cluster.kubeconfig(directory)) as api:
            cluster.misbehave("GET", "jobs", forbidden)
            with pytest.raises(ApiRefused) as raised:
                await api.get(JOBS, "clones", "any")
            assert (raised.value.code, raised.value.cause) == (403, "Forbidden")


async def _true(value: object) -> bool:
    return bool(value)
