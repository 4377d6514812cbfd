"""The demonstration is itself the longest check there is: it must end well, and leave nothing."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.installation import ROOT
from tests.support.places import open_directory


@pytest.mark.timeout(300)
def test_the_demonstration_holds_in_every_check_and_cleans_up() -> None:
    with open_directory("demo") as place:
        isolation = {} if os.getuid() == 0 else {"WPCLONE_LOCAL_ISOLATION": "none"}
        done = subprocess.run(
            [sys.executable, "-m", "wpclone.cli", "demo", "--exit"],
            capture_output=True, text=True, timeout=280, check=False, cwd=ROOT,
            env={
                "PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
                **isolation,
            },
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-6000:]
        assert list(place.iterdir()) == []
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["ok"] is True
    assert set(summary) == {"ok", "job_id", "clone_url", "seconds", "copy_seconds", "rows", "files", "bytes"}
    assert summary["bytes"] > 60_000_000
