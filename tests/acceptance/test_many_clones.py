"""Many clones of one source, asked for at once, on one worker."""

import asyncio
import json
from datetime import timedelta

import pytest

from tests.support.clone_traces import nothing_left
from tests.support.installation import Installation
from tests.support.source_site import SourceSite
from wpclone.client.client import connect
from wpclone.standalone.demo.web import Visitor

COUNT = 20


@pytest.mark.timeout(200)
async def test_twenty_clones_asked_for_at_once_complete_and_answer(service: Installation, source: SourceSite) -> None:
    done = await asyncio.to_thread(
        service.run, "clone", "create", "--source", source.url, "--username", source.site.admin, "--count", str(COUNT),
        "-o", "json", "--progress", "none", timeout=150, WPCLONE_SOURCE_PASSWORD=source.site.password,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + service.said()
    jobs = [outcome["job"] for outcome in json.loads(done.stdout)]
    assert len({job["clone_id"] for job in jobs}) == COUNT
    assert len({job["result"]["clone_url"] for job in jobs}) == COUNT
    pages = await asyncio.gather(*(asyncio.to_thread(Visitor().get, job["result"]["clone_url"] + "/") for job in jobs))
    for job, page in zip(jobs, pages, strict=True):
        assert page.status == 200, page.text[:500]
        assert "A sample of everything" in page.text
        assert job["result"]["clone_url"] in page.text
        assert source.url not in page.text

    async with connect(service.client["server"], service.client["token"]) as client:

        async def delete(clone_id: str) -> str:
            asked = await client.delete_clone(clone_id)
            return (await client.wait_job(asked.job_id, timedelta(seconds=60))).status

        ends = await asyncio.gather(*(delete(job["clone_id"]) for job in jobs))
    assert set(ends) == {"completed"}
    for job in jobs:
        nothing_left(service, job["clone_id"])
