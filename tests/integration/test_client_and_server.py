"""The library and the command against the real service, on a memory store."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from server.app import App, Rhythm, World
from tests.support.places import free_port
from tests.support.serving import CUSTOMER, LIVES, OTHER, Edge, clone_request, serving
from tests.support.wait import until_async
from wpclone.cli.exits import Exit
from wpclone.client import ClientError, connect
from wpclone.core.clock import SystemClock
from wpclone.core.jobs import transitions
from wpclone.core.jobs.job import Claim, JobError, Step
from wpclone.core.jobs.states import CloneState, StepState, Verdict
from wpclone.core.jobs.transitions import CloneChange
from wpclone.core.metrics import Metrics
from wpclone.v2 import clone_service_pb2

ROOT = Path(__file__).parents[2]
SECRET = "the-password-of-the-source"
RESULT = {
    "clone_url": "http://clone.localhost:8000",
    "username": "admin",
    "rows": 7,
    "files": 3,
    "bytes": 1500,
    "copy_seconds": 0.5,
}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with serving() as made:
        yield made


async def work(edge: Edge, job_id: str) -> Claim:
    """Begin a job as a worker does."""
    claim = await edge.claim(job_id)
    step = Step("copy_files", 3, StepState.RUNNING, attempts=1)
    await edge.apply(transitions.step_started(claim, step, status_message="Copying files"))
    return claim


async def complete(edge: Edge, claim: Claim) -> None:
    ready = CloneChange(CloneState.READY, url="http://clone.localhost:8000", admin_login="admin", starts_ttl=True)
    await edge.apply(transitions.completed(claim, result=RESULT, status_message="Completed", clone=ready))


async def command(
    edge: Edge, home: Path, *words: str, customer: str = CUSTOMER, token: str | None = None
) -> asyncio.subprocess.Process:
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(home), "WPCLONE_STATE_DIR": str(home),
        "WPCLONE_SERVER": f"127.0.0.1:{edge.port}", "WPCLONE_SOURCE_PASSWORD": SECRET,
        "WPCLONE_TOKEN": edge.tokens[customer] if token is None else token,
    }  # fmt: skip
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wpclone.cli", *words, env=environ, cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def only_job(edge: Edge) -> str:
    """The id of the one job there is, as soon as there is one."""

    async def look() -> list[str]:
        page = await edge.stub.ListJobs(clone_service_pb2.ListJobsRequest(), metadata=edge.as_(CUSTOMER))
        return [job.job_id for job in page.jobs]

    (job_id,) = await until_async(look, within=20)
    return job_id


async def test_a_clone_is_created_watched_opened_extended_and_deleted(edge: Edge, tmp_path: Path) -> None:
    words = ("clone", "create", "--source", "https://example.com", "--username", "admin", "-o", "json")
    creating = await command(edge, tmp_path, *words)
    job_id = await only_job(edge)
    await complete(edge, await work(edge, job_id))
    code, out, err = await ended(creating)
    assert code == Exit.OK, err
    shown = json.loads(out)
    assert len(shown["result"]["password"]) == 24
    assert shown["result"]["rows"] == "7"
    assert shown["result"]["expires_at"]
    assert SECRET not in out + err

    code, link, err = await ended(await command(edge, tmp_path, "clone", "open", job_id))
    assert (code, link.startswith("http://clone.localhost:8000/?wpclone-sign-in=")) == (Exit.OK, True), err
    code, table, err = await ended(await command(edge, tmp_path, "clone", "extend", job_id, "--ttl", "5h"))
    assert (code, "http://clone.localhost:8000" in table) == (Exit.OK, True), err
    code, out, err = await ended(await command(edge, tmp_path, "clone", "delete", job_id, "--no-watch", "-o", "json"))
    assert (code, json.loads(out)["type"]) == (Exit.OK, "delete"), err
    code, out, err = await ended(await command(edge, tmp_path, "clone", "list", "-o", "jsonl"))
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["deleting"]


async def test_a_failed_job_ends_the_command_with_1_and_its_reason(edge: Edge, tmp_path: Path) -> None:
    job = await edge.create()
    watching = await command(edge, tmp_path, "job", "watch", job.job_id)
    claim = await work(edge, job.job_id)
    error = JobError("WordPress refused the password", "LOGIN_REFUSED", step="preflight")
    await edge.apply(transitions.condemned(claim, Verdict.FAIL, error, None, status_message="Undoing"))
    await edge.apply(
        transitions.failed(claim, clone=CloneChange(CloneState.FAILED), needs_attention=False, status_message="Failed")
    )
    code, out, err = await ended(watching)
    assert code == Exit.JOB_FAILED
    assert "step preflight, reason LOGIN_REFUSED" in err
    assert "LOGIN_REFUSED" in out


async def test_a_pending_job_is_cancelled_at_once(edge: Edge, tmp_path: Path) -> None:
    job = await edge.create()
    assert (await ended(await command(edge, tmp_path, "job", "cancel", job.job_id)))[0] == Exit.OK
    assert (await ended(await command(edge, tmp_path, "job", "watch", job.job_id)))[0] == Exit.CANCELLED
    code, _, err = await ended(await command(edge, tmp_path, "job", "cancel", job.job_id, "--watch"))
    assert code == Exit.OK, err


@pytest.mark.parametrize(
    ("words", "end", "said"),
    [
        (("clone", "create", "--source", "nonsense", "--username", "u", "--ttl", "1m", "--no-watch"), Exit.USAGE, "ttl_minutes"),
        (("job", "get", "clone-ffffffffffff"), Exit.NOT_FOUND, "JOB_NOT_FOUND"),
        (("clone", "get", "clone-ffffffffffff"), Exit.NOT_FOUND, "CLONE_NOT_FOUND"),
        (("job", "get", "not-an-id"), Exit.USAGE, "job_id"),
        (("job", "list", "--status", "sleeping"), Exit.USAGE, "status"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_bad_input_is_told_with_its_own_code(
    edge: Edge, tmp_path: Path, words: tuple[str, ...], end: Exit, said: str
) -> None:
    code, out, err = await ended(await command(edge, tmp_path, *words))
    assert (code, out) == (end, ""), err
    assert said in err


async def test_strangers_and_the_unknown_are_kept_out(edge: Edge, tmp_path: Path) -> None:
    job = await edge.create()
    assert (await ended(await command(edge, tmp_path, "job", "get", job.job_id, customer=OTHER)))[0] == Exit.NOT_FOUND
    assert (await ended(await command(edge, tmp_path, "job", "get", job.job_id, token="wrong")))[0] == Exit.ACCESS
    code, _, err = await ended(await command(edge, tmp_path, "job", "get", job.job_id, token=""))
    assert code == Exit.ACCESS
    assert "WPCLONE_TOKEN" in err


async def test_repeating_a_request_id_is_the_same_job_and_another_body_is_refused(edge: Edge) -> None:
    async with connect(f"127.0.0.1:{edge.port}", edge.tokens[CUSTOMER]) as client:
        first = await client.create_clone(clone_request(request_id="once"))
        assert (await client.create_clone(clone_request(request_id="once"))).job_id == first.job_id
        with pytest.raises(ClientError) as raised:
            await client.create_clone(clone_request(request_id="once", ttl_minutes=30))
    assert raised.value.reason == "REQUEST_ID_REUSED"


async def test_a_watch_goes_on_when_its_server_drains_and_another_takes_the_port(edge: Edge) -> None:
    """Every revision is newer than the one before, none is shown twice, and the final one comes."""
    port = free_port()
    world = World(edge.store, edge.bus, edge.keys, Metrics(CollectorRegistry()), SystemClock(), os.urandom, random.random)
    first = App(world, lives=LIVES, runtime="local", rhythm=Rhythm())
    await first.start(f"127.0.0.1:{port}")
    job = await edge.create()
    claim = await work(edge, job.job_id)
    lost: list[str] = []
    async with (
        connect(f"127.0.0.1:{port}", edge.tokens[CUSTOMER]) as client,
        aclosing(client.watch(job.job_id, on_lost=lambda error, pause: lost.append(error.reason))) as revisions,
    ):
        seen = [(await anext(revisions)).revision]
        rest = asyncio.create_task(_all(revisions))
        await first.drain(5)
        await edge.apply(transitions.progressed(claim, progress=50, status_message="Half"))
        second = App(world, lives=LIVES, runtime="local", rhythm=Rhythm())
        await second.start(f"127.0.0.1:{port}")
        try:
            await complete(edge, claim)
            async with asyncio.timeout(30):
                seen += await rest
        finally:
            await second.drain(0)
    assert seen == sorted(set(seen))
    assert (
        seen[-1]
        == (await edge.stub.GetJob(clone_service_pb2.GetJobRequest(job_id=job.job_id), metadata=edge.as_(CUSTOMER))).revision
    )
    assert lost[0] == "SHUTTING_DOWN"


async def _all(revisions: AsyncIterator[object]) -> list[int]:
    return [job.revision async for job in revisions]  # type: ignore[attr-defined]
