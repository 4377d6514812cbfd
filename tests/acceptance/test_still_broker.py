"""The doorbell is not the truth: with nats-server standing still, clones are accepted, and made when it moves again."""

import json
import os
import signal
import time
import urllib.request
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.source_site import SourceSite
from tests.support.wait import until


def _job(service: Installation, job_id: str) -> dict[str, Any]:
    client = service.client
    request = urllib.request.Request(
        f"{client['rest']}/api/v2/jobs/{job_id}", headers={"Authorization": f"Bearer {client['token']}"}
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        job: dict[str, Any] = json.loads(answer.read())
        return job


@pytest.mark.timeout(240)
def test_a_clone_is_accepted_while_nats_stands_still_and_made_when_it_moves_again(
    service: Installation, source: SourceSite
) -> None:
    pid = service.part("nats-server")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        job_id = service.clone(source.url, source.site.admin, source.site.password, "--no-watch")["job_id"]
        assert time.monotonic() - started < 10
        assert _job(service, job_id)["status"] == "pending"
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: _job(service, job_id)["status"] == "completed", within=120, every=0.2)
    service.wpclone("clone", "delete", job_id, "--watch")
