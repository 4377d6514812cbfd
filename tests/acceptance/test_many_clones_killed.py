"""Twenty clones of one source asked for at once, on two workers, of which one is killed in the middle: twenty working clones."""

import asyncio
import json
import os
import signal

import pytest

from tests.support.chaos_table import note
from tests.support.clone_traces import nothing_left, sql
from tests.support.history import Findings
from tests.support.installation import Installation, installation
from tests.support.source_site import SourceSite
from tests.support.wait import until_async
from wpclone.standalone.demo.web import Visitor

COUNT = 20


async def _several_copy(service: Installation) -> bool:
    """Whether at least four jobs are in the middle of copying."""
    copying = "SELECT COUNT(*) FROM job_steps JOIN claims USING (job_id) WHERE name LIKE 'copy%' AND state = 'running'"
    return int((await asyncio.to_thread(sql, service, copying, database="wpclone"))[0][0]) > 3


@pytest.mark.full
@pytest.mark.timeout(500)
async def test_twenty_clones_complete_although_one_of_two_workers_is_killed(source: SourceSite) -> None:
    with installation(WPCLONE_ALLOW_PRIVATE_SOURCES="true", WPCLONE_WORKERS="2") as service:
        service.up()
        asking = asyncio.create_task(
            asyncio.to_thread(
                service.run, "clone", "create", "--source", source.url, "--username", source.site.admin, "--count", str(COUNT),
                "-o", "json", "--progress", "none", timeout=400, WPCLONE_SOURCE_PASSWORD=source.site.password,
            )
        )  # fmt: skip
        await until_async(lambda: _several_copy(service), within=120, every=0.1)
        os.kill(service.part("worker-2")["pid"], signal.SIGKILL)
        done = await asking
        assert done.returncode == 0, done.stdout + done.stderr + service.said()
        jobs = [outcome["job"] for outcome in json.loads(done.stdout)]
        assert len({job["clone_id"] for job in jobs}) == COUNT
        lapsed = sql(service, "SELECT COUNT(*) FROM jobs WHERE lapses > 0", database="wpclone")[0][0]
        assert lapsed > 0, "the kill was to meet a job"
        assert "worker-2 was killed by signal 9; starting it again" in service.said()
        for job in jobs:
            page = await asyncio.to_thread(Visitor().get, job["result"]["clone_url"] + "/")
            assert (page.status, "A sample of everything" in page.text, source.url in page.text) == (200, True, False)
        print(f"{lapsed} of {COUNT} jobs lost their worker, and all completed")
        for job in jobs:
            await asyncio.to_thread(service.wpclone, "clone", "delete", job["clone_id"], "--no-watch")

        async def are_deleted() -> bool:
            left = "SELECT COUNT(*) FROM clones WHERE state <> 'deleted'"
            return int((await asyncio.to_thread(sql, service, left, database="wpclone"))[0][0]) == 0

        await until_async(are_deleted, within=120, every=0.5)
        for job in jobs:
            nothing_left(service, job["clone_id"])
        await asyncio.to_thread(service.down)
        note("Twenty clones of a real site at once, one of two workers killed", Findings(COUNT))
