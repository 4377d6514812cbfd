"""The library and the command through the real Envoy: a server that dies behind it, and JSON that equals REST's."""

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Loop
from tests.support.serving import CUSTOMER, Edge, serving
from tests.support.wait import until_async
from wpclone.client import connect
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Step
from wpclone.core.jobs.states import CloneState, StepState
from wpclone.core.jobs.transitions import CloneChange
from wpclone.standalone import envoy

ROOT = Path(__file__).parents[2]


@dataclass
class Front:
    """Envoy's API port, and the proxy between Envoy and the server."""

    port: int
    proxy: FaultProxy
    edge: Edge


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    loop = Loop()
    async with serving() as edge:
        proxy = FaultProxy(("127.0.0.1", edge.port), loop)
        with open_directory("envoy") as directory:
            place = envoy.EnvoyPlace(
                directory / "e", ROOT / "deploy/envoy/envoy.yaml", ROOT / "gen/wpclone/v2/descriptor.binpb", directory / "routes",
                free_port(), free_port(), proxy.port, free_port(), SERVICE,
            )  # fmt: skip
            child = await asyncio.to_thread(loop.run, envoy.start(place))
            try:
                await until_async(lambda: asyncio.to_thread(_is_healthy, place.api_port), within=15)
                yield Front(place.api_port, proxy, edge)
            finally:
                await asyncio.to_thread(loop.run, child.stop())
                await asyncio.to_thread(proxy.close)
    loop.close()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def test_a_server_that_dies_behind_envoy_is_resumed_on_a_fresh_connection(front: Front) -> None:
    edge = front.edge
    job = await edge.create()
    claim = await edge.claim(job.job_id)
    lost: list[str] = []
    async with (
        connect(f"127.0.0.1:{front.port}", edge.tokens[CUSTOMER]) as client,
        aclosing(client.watch(job.job_id, on_lost=lambda error, pause: lost.append(error.message))) as revisions,
    ):
        seen = [(await anext(revisions)).revision]
        rest = asyncio.create_task(_all(revisions))
        await asyncio.to_thread(front.proxy.reset_all)
        step = Step("copy_files", 3, StepState.RUNNING, attempts=1)
        await edge.apply(transitions.step_started(claim, step, status_message="Copying files"))
        ready = CloneChange(CloneState.READY, url="http://clone.localhost", admin_login="admin", starts_ttl=True)
        await until_async(lambda: _true(bool(lost)), within=20)
        await edge.apply(transitions.completed(claim, result={}, status_message="Completed", clone=ready))
        async with asyncio.timeout(30):
            seen += await rest
    assert "RST_STREAM" in lost[0]
    assert seen == sorted(set(seen))


async def _all(revisions: AsyncIterator[object]) -> list[int]:
    return [job.revision async for job in revisions]  # type: ignore[attr-defined]


async def _true(value: bool) -> bool:
    return value


async def test_json_is_the_rest_body(front: Front, tmp_path: Path) -> None:
    edge = front.edge
    job = await edge.create()
    await edge.claim(job.job_id)
    environ = {"PATH": os.environ["PATH"], "WPCLONE_STATE_DIR": str(tmp_path), "WPCLONE_TOKEN": edge.tokens[CUSTOMER]}
    for noun in ("job", "clone"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wpclone.cli", noun, "get", job.job_id, "-o", "json", "--server", f"127.0.0.1:{front.port}",
            env=environ, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert json.loads(out) == await asyncio.to_thread(_rest, front, f"{noun}s/{job.job_id}")


def _rest(front: Front, path: str) -> object:
    headers = {"authorization": f"Bearer {front.edge.tokens[CUSTOMER]}"}
    request = urllib.request.Request(f"http://127.0.0.1:{front.port}/api/v2/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
