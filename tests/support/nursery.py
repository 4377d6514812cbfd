"""Forks workers from one process that has imported all they need: thirty of them start in the time of one.

`python -m tests.support.nursery` reads a line of JSON for each worker (`environ`, `log`, `uid`, `gid`) and writes two: its pid,
and, when it has ended, its pid and return code as subprocess has it. All end with the nursery, and it ends with its parent.
"""

import json
import os
import random
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import chaos_worker

ROOT = Path(__file__).parents[2]


@dataclass
class Nursling:
    """One worker process, as far as tests need a Popen."""

    pid: int
    returncode: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Return when it has ended."""
        self.ended.wait()

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing when it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


class Nursery:
    """The other end; `start` gives a worker, `close` ends all."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            process_group=0, text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        self._born: dict[int, Nursling] = {}
        self._next: list[Nursling] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, environ: Mapping[str, str], log: Path, *, uid: int, gid: int) -> Nursling:
        """A worker with this environment, under these ids."""
        assert self._process.stdin is not None
        with self._changed:
            self._process.stdin.write(json.dumps({"environ": dict(environ), "log": str(log), "uid": uid, "gid": gid}) + "\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: self._next, timeout=120), "the nursery does not answer"
            return self._next.pop()

    def close(self) -> None:
        """End the nursery and all that it bore."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(10)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told: dict[str, int] = json.loads(line)
            with self._changed:
                if "returncode" in told:
                    child = self._born[told["pid"]]
                    child.returncode = told["returncode"]
                    child.ended.set()
                else:
                    child = self._born[told["pid"]] = Nursling(told["pid"])
                    self._next.append(child)
                self._changed.notify_all()


def _bear(told: Mapping[str, Any]) -> int:
    """Fork one worker; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for to, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(to, number)
        os.environ.clear()
        os.environ.update(told["environ"])
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(told["gid"])
            os.setuid(told["uid"])
        random.seed(os.urandom(16))  # or all would be equally random
        chaos_worker.run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _say(told: Mapping[str, int]) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _reap(alive: set[int], *, flags: int = os.WNOHANG) -> None:
    """Tell of each child that has ended."""
    while alive:
        pid, status = os.waitpid(-1, flags)
        if pid == 0:
            return
        alive.discard(pid)
        _say({"pid": pid, "returncode": os.waitstatus_to_exitcode(status)})


def main() -> None:
    """Bear and reap until stdin ends; then end all that live."""
    alive: set[int] = set()
    hear, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(tell)
    asked = b""
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        ready.register(hear, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                piece = os.read(key.fd, 65536)
                if key.fd == hear:
                    _reap(alive)
                    continue
                *lines, asked = (asked + piece).split(b"\n")
                for line in lines:
                    pid = _bear(json.loads(line))
                    alive.add(pid)
                    _say({"pid": pid})
                if not piece:
                    for pid in alive:
                        os.kill(pid, signal.SIGKILL)
                    _reap(alive, flags=0)
                    return


if __name__ == "__main__":
    main()
