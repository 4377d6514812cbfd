"""A clone's whole way through the running service, while things are killed, stopped and cancelled under it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.installation import ROOT, Installation
from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.standalone.demo import tables, trees
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.tables import Database
from wpclone.standalone.demo.web import Visitor

PLUGINS = {"akismet", "hello.php", "index.php", "noisy"}
"""What the source has of its own; anything else is our agent."""


def _job(service: Installation, job_id: str) -> dict[str, Any]:
    client = service.client
    request = urllib.request.Request(
        f"{client['rest']}/api/v2/jobs/{job_id}", headers={"Authorization": f"Bearer {client['token']}"}
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        job: dict[str, Any] = json.loads(answer.read())
        return job


def _ask(service: Installation, source: SourceSite) -> str:
    """Ask for a clone and let go; the job's id."""
    job = service.clone(source.url, source.site.admin, source.site.password, "--no-watch")
    job_id: str = job["job_id"]
    return job_id


def _in_the_copy(service: Installation, job_id: str) -> bool:
    return 10 < int(_job(service, job_id)["progress"]) < 54


def _ended(service: Installation, job_id: str) -> dict[str, Any] | None:
    job = _job(service, job_id)
    return job if job["status"] in {"completed", "failed", "cancelled"} else None


def _completed(service: Installation, job_id: str, *, within: float) -> dict[str, Any]:
    job = until(lambda: _ended(service, job_id), within=within)
    assert job is not None
    assert job["status"] == "completed", job.get("error")
    result: dict[str, Any] = job["result"]
    return result


def _root(service: Installation) -> "pymysql.connections.Connection[Any]":
    password = (service.state.directory / "mariadb.password").read_text().strip()
    return pymysql.connect(
        unix_socket=str(service.state.mariadb / "mariadb.sock"), user="root", password=password, autocommit=True
    )


def _databases(service: Installation) -> set[str]:
    connection = _root(service)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM information_schema.schemata UNION SELECT user FROM mysql.global_priv")
            return {row[0] for row in cursor.fetchall()}
    finally:
        connection.close()


def _leftovers(service: Installation, source: SourceSite, job_id: str) -> list[str]:
    """Whatever is left of a clone, here and at its source."""
    found = [name for name in _databases(service) if name == job_id.replace("clone-", "wpc_")]
    found += [str(path) for path in (service.state.clones / "sites").glob(f"{job_id}*")]
    found += [str(path) for path in (service.state.service / "work").glob(f"*{job_id}*")]
    found += [str(path) for path in (source.docroot / "wp-content" / "plugins").iterdir() if path.name not in PLUGINS]
    return found


def _check_whole(service: Installation, source: SourceSite, result: dict[str, Any]) -> None:
    """Every row once, every file's hash."""
    said: list[str] = []
    findings = Findings(said.append)
    site = Site(source.url, str(source.docroot))
    hosted = next(c for c in service.json("status")["clones"] if c["clone_id"] == result["clone_id"])
    clone = Site(result["clone_url"], hosted["docroot"])
    there = tables.rows_of(Database(source.mariadb.place.port, source.mariadb.password, source.site.database, site))
    port = json.loads(service.state.ports.read_text())["mariadb"]
    password = (service.state.directory / "mariadb.password").read_text().strip()
    here = tables.rows_of(Database(port, password, result["clone_id"].replace("clone-", "wpc_"), clone))
    tables.check_tables(findings, there, here, "clone")
    left_out = {item["name"]: item["reason"] for item in result["report"].get("excluded_files", [])}
    trees.check_files(findings, trees.leaves_of(source.docroot), trees.leaves_of(Path(clone.docroot)), left_out)
    assert findings.ok, said


@contextmanager
def _watching(service: Installation, job_id: str) -> Iterator["subprocess.Popen[str]"]:
    watch = subprocess.Popen(
        [sys.executable, "-m", "wpclone.cli", "job", "watch", job_id, "-o", "json"], env=service.environ, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield watch
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.timeout(240)
def test_a_worker_killed_in_the_copy_is_replaced_and_every_row_and_file_is_there_once(
    service: Installation, source: SourceSite
) -> None:
    job_id = _ask(service, source)
    until(lambda: _in_the_copy(service, job_id), within=60, every=0.02)
    os.kill(service.part("worker")["pid"], signal.SIGKILL)
    result = _completed(service, job_id, within=120)
    _check_whole(service, source, result)
    assert Visitor().get(result["clone_url"]).status == 200
    service.wpclone("clone", "delete", job_id, "--watch")
    assert _leftovers(service, source, job_id) == []


@pytest.mark.timeout(240)
def test_a_watch_goes_on_across_a_killed_server(service: Installation, source: SourceSite) -> None:
    job_id = _ask(service, source)
    with _watching(service, job_id) as watch:
        until(lambda: _in_the_copy(service, job_id), within=60, every=0.02)
        os.kill(service.part("server")["pid"], signal.SIGKILL)
        out, err = watch.communicate(timeout=120)
    assert watch.returncode == 0, err
    assert json.loads(out)["status"] == "completed"
    service.wpclone("clone", "delete", job_id, "--watch")


@pytest.mark.timeout(240)
def test_a_cancel_in_the_copy_leaves_nothing(service: Installation, source: SourceSite) -> None:
    job_id = _ask(service, source)
    until(lambda: _in_the_copy(service, job_id), within=60, every=0.02)
    service.wpclone("job", "cancel", job_id)
    waited = service.run("job", "wait", job_id)
    assert waited.returncode == 3, waited.stderr
    assert _leftovers(service, source, job_id) == []


@pytest.mark.timeout(240)
def test_a_clone_is_accepted_while_nats_stands_still_and_made_when_it_moves_again(
    service: Installation, source: SourceSite
) -> None:
    pid = service.part("nats-server")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        job_id = _ask(service, source)
        assert time.monotonic() - started < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    _completed(service, job_id, within=120)
    service.wpclone("clone", "delete", job_id, "--watch")


@pytest.mark.timeout(240)
def test_an_expired_clone_goes_by_itself(service: Installation, source: SourceSite) -> None:
    job = service.clone(source.url, source.site.admin, source.site.password)
    connection = _root(service)
    try:
        with connection.cursor() as cursor:  # as if its hour had passed
            cursor.execute("UPDATE wpclone.clones SET expires_at = UTC_TIMESTAMP(6) WHERE clone_id = %s", (job["job_id"],))
    finally:
        connection.close()
    until(lambda: not _leftovers(service, source, job["job_id"]), within=60, every=0.5)
    until(lambda: service.json("clone", "get", job["job_id"])["status"] == "deleted", within=30, every=0.5)


@pytest.mark.timeout(240)
def test_a_wrong_password_is_said_plainly_and_leaves_nothing(service: Installation, source: SourceSite) -> None:
    refused = service.run(
        "clone", "create", "--source", source.url, "--username", source.site.admin, WPCLONE_SOURCE_PASSWORD="not it"
    )
    assert refused.returncode == 1
    assert "reason LOGIN_REFUSED" in refused.stderr or "password" in refused.stderr.lower(), refused.stderr
    assert [name for name in _databases(service) if name.startswith("wpc_")] == []


@pytest.mark.full
@pytest.mark.timeout(900)
def test_twenty_clones_asked_for_at_once_all_answer(service: Installation, source: SourceSite) -> None:
    environ = {"WPCLONE_SOURCE_PASSWORD": source.site.password}
    made = service.json(
        "clone", "create", "--source", source.url, "--username", source.site.admin, "--count", "20", timeout=800, **environ
    )
    urls = [item["job"]["result"]["clone_url"] for item in made]
    assert len(urls) == 20
    assert [Visitor().get(url).status for url in urls] == [200] * 20
    for url in urls:
        service.wpclone("clone", "delete", url.removeprefix("http://").partition(".")[0], "--no-watch")
    until(lambda: not any(name.startswith("wpc_") for name in _databases(service)), within=120, every=1)
