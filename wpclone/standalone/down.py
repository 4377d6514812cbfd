"""`wpclone down`: ask the process that runs an installation to stop, and wait until it has."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping

from wpclone.standalone.run_lock import holder
from wpclone.standalone.state import State, state_directory

_PAUSE = threading.Event()
_PATIENCE = 180.0
"""Seconds: more than all graces of all parts together."""


def run(
    *,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], object] = lambda line: sys.stderr.write(line + "\n"),
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Stop what runs and return 0, also when nothing did; 1 when it is another user's or does not stop."""
    state = State(state_directory(environ, uid=os.getuid()))
    pid = holder(state.lock)
    if pid is None:
        say(f"nothing runs for {state.directory}")
        return 0
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        say(f"process {pid} runs {state.directory} and is another user's; stop it as that user")
        return 1
    except ProcessLookupError:
        return 0
    end = clock() + _PATIENCE
    while holder(state.lock) == pid:
        if clock() > end:
            say(f"process {pid} did not stop within {_PATIENCE:.0f} s; see {state.directory}")
            return 1
        _PAUSE.wait(0.05)
    say("everything is stopped")
    return 0
