"""How a run of pytest comes by its cluster: KUBECONFIG names it, or it is started before the first test that needs one.

`make test` asks for that with CLUSTER=start. What the cluster is made of is then got in the background while other tests run,
which is why tests/conftest.py has these come late.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from xdist import get_xdist_worker_id

from tests.cluster.place import ClusterPlace
from tests.cluster.session import ClusterSession, NoCluster

ROOT = Path(__file__).parents[2]
NONE_NAMED = "needs a Kubernetes: `make cluster`, and its KUBECONFIG; `make test` as root starts one"


def needs_cluster(item: pytest.Item | None) -> bool:
    """Whether this is one of the tests here."""
    return item is not None and Path(__file__).parent in item.path.parents


class ClusterPlugin:
    """The hooks of one pytest process. With two, one of them has all these tests (tests/support/schedule.py)."""

    def __init__(self, place: ClusterPlace) -> None:
        self._session = ClusterSession(place)
        self._has_begun = False
        self._missing = ""
        self._getting: subprocess.Popen[bytes] | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark them, and skip them where there will be no cluster."""
        for item in filter(needs_cluster, items):
            item.add_marker(pytest.mark.cluster)
            if not os.environ.get("KUBECONFIG") and not _may_start():
                item.add_marker(pytest.mark.skip(reason=NONE_NAMED))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin to get what a cluster is made of, politely: other tests run meanwhile."""
        is_first = get_xdist_worker_id(session) in ("master", "gw0")
        if not is_first or not _may_start() or session.config.option.collectonly or not any(map(needs_cluster, session.items)):
            return
        self._getting = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, "-m", "tests.cluster", "build"], cwd=ROOT, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
        """First of all wrappers, so that no test's time limit runs while the cluster is built and started."""
        if needs_cluster(item):
            self._begin()
            if self._missing:
                item.add_marker(pytest.mark.skip(reason=f"needs a Kubernetes, and none could be started here: {self._missing}"))
        told = yield
        if needs_cluster(item) and not needs_cluster(nextitem):
            self._end()
        return told

    def pytest_sessionfinish(self) -> None:
        """Leave nothing, also after Ctrl-C."""
        self._end()
        if self._getting is not None:
            if self._getting.poll() is None:
                os.killpg(self._getting.pid, signal.SIGTERM)
            self._getting.wait(30)

    def _begin(self) -> None:
        if self._has_begun or self._missing or not (os.environ.get("KUBECONFIG") or _may_start()):
            return
        self._has_begun = True
        try:
            self._session.begin()
        except NoCluster as cause:
            self._missing = str(cause)

    def _end(self) -> None:
        self._session.end()
        self._has_begun = False


def _may_start() -> bool:
    """Pods need root; a run that names a cluster gets no other."""
    return os.environ.get("CLUSTER") == "start" and os.getuid() == 0 and not os.environ.get("KUBECONFIG")
