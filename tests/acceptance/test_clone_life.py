"""A clone from its making to its end: watched, opened, extended, cancelled, deleted, expired."""

import base64
import json
import os
import signal
import subprocess
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.clone_content import files_arrived, running_step, same_as_source
from tests.support.clone_traces import nothing_left, sql
from tests.support.installation import Installation
from tests.support.slow_source import slow
from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.cli.exits import Exit
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.sign_in import check_link
from wpclone.standalone.demo.web import Visitor


def _ask(service: Installation, source: SourceSite, *more: str) -> str:
    """Ask for a clone and do not wait; its id, which is the job's too."""
    job = service.json(
        "clone", "create", "--source", source.url, "--username", source.site.admin, "--no-watch", *more,
        WPCLONE_SOURCE_PASSWORD=source.site.password,
    )  # fmt: skip
    return str(job["job_id"])


def _answers(url: str) -> bool:
    try:
        return Visitor().get(url).status == 200
    except OSError:
        return False


@pytest.mark.timeout(180)
def test_a_watch_goes_on_across_a_restart_of_the_server(service: Installation, source: SourceSite) -> None:
    before = service.part("server")
    command = [*service._command("job", "watch"), "--progress", "plain", "-o", "jsonl"]
    with slow(source, 0.5):
        clone_id = _ask(service, source)
        with subprocess.Popen(
            [*command, clone_id], env=service.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watch:
            assert watch.stdout is not None
            first = json.loads(watch.stdout.readline())
            until(lambda: running_step(service, clone_id) == "copy_files", within=60)
            os.kill(before["pid"], signal.SIGTERM)
            out, err = watch.communicate(timeout=120)
    assert watch.returncode == Exit.OK, err + service.said()
    shown: list[dict[str, Any]] = [first, *(json.loads(line) for line in out.splitlines())]
    revisions = [int(job["revision"]) for job in shown]
    assert revisions == sorted(set(revisions))
    assert [job["status"] for job in shown][-1] == "completed"
    assert service.part("server")["restarts"] == before["restarts"] + 1
    same_as_source(service, source, shown[-1])
    service.wpclone("clone", "delete", clone_id, "--watch")
    assert not _answers(shown[-1]["result"]["clone_url"])
    assert service.run("clone", "open", clone_id).returncode == Exit.WRONG_STATE
    nothing_left(service, clone_id)


@pytest.mark.timeout(180)
def test_a_cancel_in_the_middle_of_a_copy_leaves_nothing(service: Installation, source: SourceSite) -> None:
    with slow(source, 1):
        clone_id = _ask(service, source)
        until(lambda: running_step(service, clone_id) == "copy_files" and files_arrived(service, clone_id) > 0, within=60)
        service.wpclone("job", "cancel", clone_id)
    done = service.run("job", "wait", clone_id, "-o", "json")
    assert done.returncode == Exit.CANCELLED, done.stderr
    job = json.loads(done.stdout)
    assert job["status"] == "cancelled"
    assert "copy_tables" not in {step["name"] for step in job["steps"]}
    nothing_left(service, clone_id)
    assert "noisy" in {path.name for path in (source.docroot / "wp-content/plugins").iterdir()}
    assert len(list((source.docroot / "wp-content/plugins").iterdir())) == 3
    assert service.run("job", "cancel", clone_id).returncode in {Exit.OK, Exit.WRONG_STATE}


@pytest.mark.timeout(180)
def test_a_clone_is_opened_once_extended_and_gone_when_its_time_is_over(service: Installation, source: SourceSite) -> None:
    raw = base64.b64encode(f"<a href='{source.url}/x'>".encode()).decode()
    source.sql("INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (1, '_raw', %s)", raw)
    job = service.clone(source.url, source.site.admin, source.site.password, "--ttl", "10m")
    source.sql("DELETE FROM wp_postmeta WHERE meta_key = '_raw'")
    clone_id, url = job["clone_id"], job["result"]["clone_url"]
    assert _answers(url)

    said: list[str] = []
    findings = Findings(said.append)
    check_link(findings, service.json("clone", "open", clone_id)["url"])
    assert findings.ok, "\n".join(said)

    listed = [json.loads(line) for line in service.wpclone("clone", "left", clone_id).splitlines()]
    proof = job["result"]["report"]["rewrite"]
    assert {line["reason"] for line in listed} == proof["left"].keys()
    assert sum(line["places"] for line in listed) == proof["places_count"] > 0
    assert {(place["table"], place["key"], place["column"], place["reason"]) for place in proof["places"]} <= {
        (line["table"], line["key"], line["column"], line["reason"]) for line in listed
    }

    first = datetime.fromisoformat(service.json("clone", "get", clone_id)["expires_at"])
    longer = datetime.fromisoformat(service.json("clone", "extend", clone_id, "--ttl", "2h")["expires_at"])
    assert timedelta(minutes=100) < longer - first < timedelta(minutes=115)
    assert service.run("clone", "extend", clone_id, "--ttl", "1000h").returncode == Exit.USAGE

    sql(service, "UPDATE clones SET expires_at = UTC_TIMESTAMP(6) WHERE clone_id = %s", clone_id, database="wpclone")
    until(lambda: service.json("clone", "get", clone_id)["status"] == "deleted", within=60, every=0.5)
    assert not _answers(url)
    nothing_left(service, clone_id)
