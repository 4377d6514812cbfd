"""When a process of the test cluster has ended: its ports are free then."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.cluster.processes import is_running, start, stop
from tests.support.places import free_port
from tests.support.wait import until

FIRST_THREAD_ENDS = """
import ctypes, socket, sys, threading
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=listening.accept).start()
ctypes.CDLL(None).syscall(60, 0)  # exit(2): of this thread, not of the process
"""


def test_a_process_runs_until_its_last_thread_has_ended(tmp_path: Path) -> None:
    port = free_port()
    start(tmp_path, "threads", [sys.executable, "-c", FIRST_THREAD_ENDS, port])
    try:
        until(lambda: "\nState:\tZ" in _status(tmp_path), within=30)
        assert is_running(tmp_path, "threads")
    finally:
        stop(tmp_path, "threads")
    assert not is_running(tmp_path, "threads")
    socket.create_server(("127.0.0.1", port)).close()


def test_a_stranger_with_a_reused_pid_is_none_of_ours(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "reused.pid").write_text(f'[{stranger.pid}, "1"]')
        stop(tmp_path, "reused")
        assert stranger.poll() is None
        stranger.kill()


def _status(directory: Path) -> str:
    pid = (directory / "threads.pid").read_text().strip("[").partition(",")[0]
    return Path(f"/proc/{pid}/status").read_text()
