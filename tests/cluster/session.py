"""The cluster of one run of tests: started unless it runs, ended by who started it. One run on a machine at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster import binaries, images
from tests.cluster.lock import Busy, held
from tests.cluster.parts import down, up
from tests.cluster.place import ClusterPlace
from tests.cluster.processes import NotReady, is_running
from tests.cluster.supplies import get_supplies
from tests.cluster.trial import run_a_pod

_TURN_SECONDS = 1200
"""How long another run of tests is waited for: its tests of the cluster take some minutes."""
_TROUBLES = (binaries.Missing, Busy, NotReady, RuntimeError, OSError, subprocess.SubprocessError, AssertionError)
"""What a machine that can build, start or run no cluster makes of it."""


class NoCluster(Exception):
    """There is none for these tests; the message is the cause, in one line."""


class ClusterSession:
    """From the first test that needs the cluster to the last: `begin`, then `end`, which may be called at any time."""

    def __init__(self, place: ClusterPlace) -> None:
        self._place = place
        self._stack = ExitStack()

    def begin(self) -> None:
        """Have KUBECONFIG name a cluster that runs pods, with the clones' image on it. Raises NoCluster.

        What KUBECONFIG names already is left as it is, and taken at its word.
        """
        try:
            self._open()
        except _TROUBLES as error:
            self.end()
            raise NoCluster(in_one_line(str(error))) from error

    def end(self) -> None:
        """End what `begin` started, and let the next run have its turn."""
        try:
            self._stack.close()
        except _TROUBLES as error:
            print(f"cluster: it did not end: {error}", file=sys.stderr)

    def _open(self) -> None:
        named, own = os.environ.get("KUBECONFIG"), str(self._place.kubeconfig())
        if named and named != own:
            return
        if not named:
            get_supplies()
        self._stack.enter_context(held(self._place.directory.with_name("cluster.lock"), within=_TURN_SECONDS))
        if named:
            return
        mark = mark_of_tests(self._place)
        if mark.exists():
            down(self._place)  # whose it was holds the lock no more: that run was killed
        if not is_running(self._place.directory, "apiserver"):
            self._stack.enter_context(_ended_by_us(self._place, mark))
        up(self._place)
        run_a_pod(self._place)
        images.give_images(self._place, ("clone",))
        self._stack.enter_context(_environment(KUBECONFIG=own))


def mark_of_tests(place: ClusterPlace) -> Path:
    """The file that is there while the cluster is one that a run of tests started and will end; `make cluster` takes it away."""
    return place.directory / "started-by-tests"


def in_one_line(told: str) -> str:
    """What a reader of a skipped test needs: who failed, and the last thing that was said."""
    lines = [line.strip() for line in told.splitlines() if line.strip()] or ["no reason given"]
    return lines[0][:300] if len(lines) == 1 else f"{lines[0].partition(': ')[0][:100]}: {lines[-1][:300]}"


@contextmanager
def _ended_by_us(place: ClusterPlace, mark: Path) -> Iterator[None]:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
    finally:
        if mark.exists():
            down(place)


@contextmanager
def _environment(**names: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
