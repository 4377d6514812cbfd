"""kill -9 of the worker in the middle of both copies; counted at the target, nothing is lost and nothing is there twice."""

import json
import os
import signal
import time

import pytest

from tests.support.clone_content import agent_url, files_arrived, rows_arrived, running_step, same_as_source
from tests.support.clone_traces import nothing_left, sql
from tests.support.installation import Installation
from tests.support.slow_source import slow
from tests.support.source_site import SourceSite
from tests.support.wait import until


def _ask(service: Installation, source: SourceSite) -> str:
    job = service.json(
        "clone", "create", "--source", source.url, "--username", source.site.admin, "--no-watch",
        WPCLONE_SOURCE_PASSWORD=source.site.password,
    )  # fmt: skip
    return str(job["job_id"])


def _fences(service: Installation, jobs: tuple[str, str]) -> dict[str, int]:
    """Under which fence each job was claimed last; it stays when the job has ended."""
    found = sql(service, "SELECT job_id, fence FROM jobs WHERE job_id IN %s", jobs, database="wpclone")
    return {str(job_id): int(fence) for job_id, fence in found}


@pytest.mark.timeout(240)
def test_a_worker_killed_in_both_copies_loses_and_repeats_nothing(
    service: Installation, source: SourceSite, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.part("worker")
    with slow(source, 0.5) as pace:
        at_tables = _ask(service, source)
        until(lambda: running_step(service, at_tables) == "copy_tables" and rows_arrived(service, at_tables) > 0, within=90)
        pace.hold(agent_url(service, at_tables))
        at_files = _ask(service, source)
        until(lambda: running_step(service, at_files) == "copy_files" and files_arrived(service, at_files) > 0, within=60)
        pace.hold(agent_url(service, at_files))
        jobs = (at_tables, at_files)
        rows, files = rows_arrived(service, at_tables), files_arrived(service, at_files)
        steps = [running_step(service, job_id) for job_id in jobs]
        fences = _fences(service, jobs)
        os.kill(before["pid"], signal.SIGKILL)
        killed = time.monotonic()
    assert steps == ["copy_tables", "copy_files"], "the kill was to meet both copies"
    assert rows > 0 < files
    until(lambda: all(_fences(service, jobs).get(job, 0) > fences[job] for job in jobs), within=60)
    taken_up = time.monotonic() - killed

    ended = [service.run("job", "wait", job_id, "-o", "json") for job_id in jobs]
    finished = time.monotonic() - killed
    for done, step in zip(ended, steps, strict=True):
        assert done.returncode == 0, done.stderr + service.said()
        job = json.loads(done.stdout)
        assert {row["name"]: row["attempts"] for row in job["steps"]}[step] == 2
        same_as_source(service, source, job)
    with capsys.disabled():
        print(f"\nkilled worker: both jobs taken up after {taken_up:.1f} s, complete after {finished:.1f} s")
    after = service.part("worker")
    assert after["restarts"] == before["restarts"] + 1
    assert "worker was killed by signal 9; starting it again" in service.said()
    for job_id in jobs:
        service.wpclone("clone", "delete", job_id, "--watch")
        nothing_left(service, job_id)
