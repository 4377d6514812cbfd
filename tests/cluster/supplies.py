"""What a test cluster is made of: Debian's packages, programs from Go modules, the clones' image; kept by version and content.

One process gets them at a time, so that a run of tests may begin with it in the background and wait for it later.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster import binaries, images
from tests.cluster.lock import held
from tests.cluster.place import cache

ROOT = Path(__file__).parents[2]
_LISTS = ("tests/cluster/packages", "deploy/docker/packages")
_SECONDS = 2400
"""Longer than building everything takes: a quarter of an hour of two cores."""


def get_supplies() -> None:
    """Have all of it: seconds when it is there, a quarter of an hour when nothing is.

    Raises Missing, Busy, RuntimeError, OSError or SubprocessError.
    """
    with held(cache() / "build.lock", within=_SECONDS):
        binaries.kube()
        binaries.coredns()
        binaries.contour()
        binaries.contour_manifests()
        binaries.kubectl()
        _install_packages()
        images.archive_of("clone")


def _install_packages() -> None:
    for packages in _LISTS:
        done = subprocess.run(
            [ROOT / "deploy" / "local" / "install_packages", ROOT / packages],
            stderr=subprocess.PIPE, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise binaries.Missing(f"the packages of {packages} cannot be installed: {last}")
