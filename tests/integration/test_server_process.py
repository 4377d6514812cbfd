"""`python -m server` and `python -m server.admin` as processes, on real MariaDB and NATS."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from server.admin import main
from tests.support.places import free_port, open_directory
from tests.support.servers import Mariadb, Nats
from tests.support.serving import clone_request, reason
from tests.support.wait import until_async
from wpclone.core.secrets import KeyRing
from wpclone.v2 import clone_service_pb2, clone_service_pb2_grpc

ROOT = Path(__file__).parents[2]


class Installation:
    """The settings of one server, and its commands."""

    def __init__(self, directory: Path, mariadb: Mariadb, nats: Nats, database: str) -> None:
        self.key_ring = directory / "keys.json"
        KeyRing.create(self.key_ring, os.urandom)
        self.port, self.metrics_port = free_port(), free_port()
        self.log = directory / "server.log"
        self.environment = {
            "PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "WPCLONE_DATABASE_URL": mariadb.url(database),
            "WPCLONE_NATS_URL": nats.url, "WPCLONE_KEY_RING_FILE": str(self.key_ring),
            "WPCLONE_GRPC_ADDRESS": f"127.0.0.1:{self.port}", "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{self.metrics_port}",
            "WPCLONE_REQUIRE_DURABLE": "false",
        }  # fmt: skip

    def admin(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "server.admin", *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            shown: str = response.read().decode()
        return shown

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        with self.log.open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "server"], env=self.environment, cwd=ROOT, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


@pytest.fixture
def installation(mariadb_server: Mariadb, nats_server: Nats, database: str) -> Iterator[Installation]:
    with open_directory("server") as directory:
        yield Installation(directory, mariadb_server, nats_server, database)


def test_the_administrators_commands(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in installation.environment.items():
        if name.startswith("WPCLONE_"):
            monkeypatch.setenv(name, value)

    def admin(*arguments: str) -> tuple[int, str]:
        return main(arguments), capsys.readouterr().out

    assert main(["customer", "create", "acme"]) == 1
    assert "migrate" in capsys.readouterr().err
    assert admin("migrate") == (0, "")
    assert admin("migrate") == (0, "")
    limits = '"running_jobs": null, "live_clones": 3, "requests_per_minute": null'
    assert admin("customer", "create", "acme", "--live-clones", "3") == (0, f'{{"customer_id": "acme", {limits}}}\n')
    limits = '"running_jobs": 2, "live_clones": null, "requests_per_minute": null'
    assert admin("customer", "limits", "acme", "--running-jobs", "2") == (0, f'{{"customer_id": "acme", {limits}}}\n')
    code, token = admin("token", "create", "--customer", "acme")
    assert (code, token.startswith("wpc_"), len(token.splitlines())) == (0, True, 1)
    assert admin("token", "create", "--customer", "nobody") == (1, "")
    assert admin("token", "create", "--customer", "acme", "--admin")[0] == 0
    code, listed = admin("token", "list", "--customer", "acme")
    first, second = (json.loads(line) for line in listed.splitlines())
    assert (code, first["customer_id"], first["admin"], second["admin"]) == (0, "acme", False, True)
    assert token.strip() not in listed
    assert admin("token", "list", "--customer", "globex") == (0, "")
    assert admin("token", "withdraw", token.strip()) == (0, "")
    assert [json.loads(line)["token_id"] for line in admin("token", "list")[1].splitlines()] == [second["token_id"]]
    assert admin("token", "withdraw", second["token_id"]) == (0, "")
    assert main(["token", "withdraw", second["token_id"]]) == 1
    assert capsys.readouterr().err == "There is no such token.\n"
    assert main(["job", "attended", "clone-0123456789ab"]) == 1
    assert "no job" in capsys.readouterr().err
    for wrong in (["customer", "create", "No Good"], ["job", "attended", "all"], ["token", "withdraw", "acme"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2


async def test_a_server_serves_tells_its_metrics_and_drains(installation: Installation) -> None:
    assert installation.admin("migrate").returncode == 0
    assert installation.admin("customer", "create", "acme").returncode == 0
    token = installation.admin("token", "create", "--customer", "acme").stdout.strip()
    metadata = (("authorization", f"Bearer {token}"),)
    with installation.running() as process:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{installation.port}") as channel:
            stub: Any = clone_service_pb2_grpc.CloneServiceStub(channel)
            job = await stub.CreateClone(clone_request(request_id="r"), metadata=metadata, wait_for_ready=True, timeout=30)
            again = await stub.CreateClone(clone_request(request_id="r"), metadata=metadata)
            assert (again.job_id, again.revision) == (job.job_id, job.revision)
            shown = await asyncio.to_thread(installation.metrics)
            assert 'clone_grpc_calls_total{code="OK",method="CreateClone"}' in shown
            watch = stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=job.job_id), metadata=metadata)
            assert (await watch.read()).job.status == "pending"
            cancelled = await stub.CancelJob(clone_service_pb2.CancelJobRequest(job_id=job.job_id), metadata=metadata)
            assert cancelled.status == "cancelled"
            last = await watch.read()
            assert last.job.status == "cancelled"
            other = await stub.CreateClone(clone_request(), metadata=metadata)
            watch = stub.WatchJob(clone_service_pb2.WatchJobRequest(job_id=other.job_id), metadata=metadata)
            await watch.read()
            process.send_signal(signal.SIGTERM)
            assert (await watch.read()).closing
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
            assert reason(caught.value) == "SHUTTING_DOWN"

        async def has_ended() -> bool:
            return process.poll() is not None

        await until_async(has_ended, within=15)
        assert process.returncode == 0
    log = installation.log.read_text()
    assert token not in log
    assert clone_request().source.admin_login.password not in log
    assert installation.environment["WPCLONE_DATABASE_URL"].split(":")[2].split("@")[0] not in log


def test_a_taken_port_is_said_in_a_line(installation: Installation) -> None:
    assert installation.admin("migrate").returncode == 0
    taken = {**installation.environment, "WPCLONE_METRICS_ADDRESS": f"127.0.0.1:{free_port()}"}
    taken["WPCLONE_GRPC_ADDRESS"] = installation.environment["WPCLONE_DATABASE_URL"].partition("@")[2].partition("/")[0]
    ended = subprocess.run(
        [sys.executable, "-m", "server"], env=taken, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("server: ")


def test_wrong_settings_are_all_named() -> None:
    command = [sys.executable, "-m", "server"]
    environment = {"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    for name in ("WPCLONE_DATABASE_URL", "WPCLONE_NATS_URL", "WPCLONE_KEY_RING_FILE"):
        assert name in ended.stderr
