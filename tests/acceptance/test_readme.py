"""The README's examples, run as they stand."""

import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.source_site import SourceSite

README = (Path(__file__).parents[2] / "README.md").read_text()


def _example(language: str) -> str:
    found = re.search(rf"<!-- a test runs this -->\n```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_rest_example_is_accepted(service: Installation, source: SourceSite) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    environ = {
        "REST": service.client["rest"], "TOKEN": service.client["token"], "SOURCE": source.url,
        "USERNAME": source.site.admin, "PASSWORD": source.site.password, "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    done = subprocess.run(["sh", "-c", _example("sh")], env=environ, capture_output=True, text=True, timeout=30, check=True)
    job = json.loads(done.stdout)
    assert (job["type"], job["status"]) == ("clone", "pending")
    assert job["status_url"] == f"/api/v2/jobs/{job['job_id']}"
    assert service.json("job", "wait", job["job_id"], "-o", "json")["status"] == "completed"
    service.wpclone("clone", "delete", job["job_id"], "--watch")


async def test_the_grpc_example_clones(service: Installation, source: SourceSite, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(_example("python"), names)
    clone: Callable[..., Awaitable[str]] = names["clone"]
    url = await clone(service.client["server"], service.client["token"], source.url, source.site.admin, source.site.password)
    assert re.fullmatch(r"http://clone-[0-9a-f]{12}\.localhost:\d+", url)
    assert "100 %" in capsys.readouterr().out
    service.wpclone("clone", "delete", url.removeprefix("http://").partition(".")[0], "--watch")
