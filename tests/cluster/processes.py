"""The processes of a test cluster: remembered by pid and birth, so that no stranger with a reused pid is hit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.wait import until


class NotReady(Exception):
    """Something did not come up in its time; the message ends with the end of its log."""


def start(directory: Path, name: str, command: Sequence[object], environment: Mapping[str, str] | None = None) -> None:
    """Start it in the background, in its own session, with its own log; nothing when it runs already."""
    if is_running(directory, name):
        return
    words = [str(word) for word in command]
    (directory / f"{name}.command").write_text(json.dumps([words, dict(environment or {})]))
    with open(directory / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            words, cwd=directory, env=os.environ | dict(environment or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    (directory / f"{name}.pid").write_text(json.dumps([process.pid, _birth(process.pid)]))
    # It outlives us on purpose; without this Python would call it forgotten.
    process.returncode = 0


def start_again(directory: Path, name: str) -> None:
    """Start a stopped one with the command it had."""
    command, environment = json.loads((directory / f"{name}.command").read_text())
    start(directory, name, command, environment)


def stop(directory: Path, name: str, number: signal.Signals = signal.SIGKILL) -> None:
    """End it and wait until it has gone; nothing when it does not run."""
    pid = _pid(directory, name)
    if pid is not None:
        os.kill(pid, number)
        until(lambda: not is_running(directory, name), within=30)
    (directory / f"{name}.pid").unlink(missing_ok=True)


def is_running(directory: Path, name: str) -> bool:
    """Whether this very process still runs."""
    return _pid(directory, name) is not None


def wait_for(directory: Path, name: str, check: Callable[[], object], *, within: float) -> None:
    """Wait until `check` holds. Raises NotReady, at once when the process has ended."""

    def ended_or_ready() -> object:
        return not is_running(directory, name) or check()

    try:
        until(ended_or_ready, within=within, every=0.1)
    except AssertionError:
        raise NotReady(f"{name} was not ready within {within:.0f} s: {_tail(directory / f'{name}.log')}") from None
    if not is_running(directory, name):
        raise NotReady(f"{name} has ended: {_tail(directory / f'{name}.log')}")


def _pid(directory: Path, name: str) -> int | None:
    try:
        pid, birth = json.loads((directory / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if birth and _birth(pid) == birth else None


def _birth(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty when it has ended.

    A zombie has ended once it is alone: the first thread becomes one while others still hold the process's ports.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        has_threads = len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" and not has_threads else fields[19]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:] if log.exists() else "(no log)"
