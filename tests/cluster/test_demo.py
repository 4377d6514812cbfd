"""`make demo RUNTIME=kubernetes`: the service as it is shipped, on a real cluster, makes clones that hold in every check."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.bench import kubectl
from tests.cluster.place import ClusterPlace

ROOT = Path(__file__).parents[2]


@pytest.mark.full  # builds the images of this checkout: minutes
@pytest.mark.timeout(1500)
def test_the_demonstration_holds_on_the_cluster_and_cleans_up(own_cluster: ClusterPlace, nodes: None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.demo", "--exit", "--in-turn"],
        capture_output=True, text=True, timeout=1400, check=False, cwd=ROOT, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["ok"] is True
    assert set(summary) == {"ok", "job_id", "clone_url", "seconds", "copy_seconds", "rows", "files", "bytes"}
    assert summary["clone_url"] == f"http://{summary['job_id']}.clones.test:{own_cluster.gateway_port}"
    for way in ("curl", "fsockopen"):
        assert f"not made: the sink got nothing from the clone by {way} (egress: filtered in WordPress only)" in done.stderr
    assert kubectl("get", "namespaces", "wpclone", "clones", "--ignore-not-found", "-o", "name") == ""
    assert kubectl("get", "pv", "-l", "wpclone-demo", "-o", "name") == ""
