"""How a run of tests comes by its cluster, and what it makes of a machine that has none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.lock import Busy, held
from tests.cluster.session import in_one_line
from tests.support.schedule import order_of

ROOT = Path(__file__).parents[2]
GO_WITHOUT_NETWORK = """#!/bin/sh
[ "$1" != version ] || { echo "go version go1.26.0 linux/amd64"; exit 0; }
echo "go: downloading k8s.io/kubernetes v1.37.2" >&2
echo "dial tcp: lookup of the module proxy: no such host" >&2
exit 1
"""


@pytest.mark.root
def test_where_no_cluster_can_be_built_its_tests_are_skipped_with_the_cause_in_one_process_and_the_run_passes(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    go.write_text(GO_WITHOUT_NETWORK)
    go.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "KUBECONFIG"))}
    words = [
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-v",
        "-p",
        "no:cacheprovider",
        "tests/cluster/test_dns.py",
        "tests/cluster/test_ends.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        env=environment | {"CLUSTER": "start", "XDG_CACHE_HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    cause = "none could be started here: go build failed: dial tcp: lookup of the module proxy: no such host"
    assert cause in done.stdout
    assert re.search(r"= [3-9] skipped in ", done.stdout), done.stdout
    assert len(set(re.findall(r"\[(gw\d)\] .* SKIPPED tests/cluster", done.stdout))) == 1


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("go build failed: no network", "go build failed: no network"),
        (
            "containerd has ended: time=1\ntime=2 starting\n\ntime=3 no mount rights\n",
            "containerd has ended: time=3 no mount rights",
        ),
        ("", "no reason given"),
    ],
)
def test_a_cause_is_one_line(told: str, line: str) -> None:
    assert in_one_line(told) == line


def test_a_lock_has_one_holder_and_the_next_one_is_told(tmp_path: Path) -> None:
    lock = tmp_path / "below" / "lock"
    with held(lock, within=1), pytest.raises(Busy, match="another process has held"), held(lock, within=0.1):
        pass
    with held(lock, within=1):
        pass


def test_the_clusters_tests_come_after_what_they_could_disturb() -> None:
    ids = ["tests/chaos/a.py::b", "tests/cluster/a.py::b", "tests/integration/a.py::b", "tests/unit/a.py::b"]
    assert sorted(ids, key=order_of) == [ids[0], ids[2], ids[1], ids[3]]
