"""A whole installation, started by `wpclone up` as its own process, in its own state directory, driven by the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.places import open_directory
from tests.support.wait import until
from wpclone.standalone.state import State

ROOT = Path(__file__).parents[2]


@dataclass
class Installation:
    """One state directory, up or down. `settings` are further WPCLONE_… of `up`."""

    state: State
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def environ(self) -> dict[str, str]:
        isolation = {} if os.getuid() == 0 else {"WPCLONE_LOCAL_ISOLATION": "none"}
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.state.directory), "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "WPCLONE_STATE_DIR": str(self.state.directory), **isolation, **self.settings,
        }  # fmt: skip

    @property
    def client(self) -> dict[str, str]:
        """server, rest and token, as `up` wrote them."""
        document: dict[str, str] = json.loads(self.state.client.read_text())
        return document

    def up(self) -> None:
        """Start, and return when everything is ready."""
        with self._log.open("ab") as log:
            # Should the tests be killed, the kernel tells `up`, which then stops everything.
            command = ["setpriv", "--pdeathsig", "TERM", *self._command("up")]
            self.process = subprocess.Popen(command, env=self.environ, stdout=log, stderr=log, process_group=0)
        until(self._is_ready_or_over, within=120)
        assert self.process.poll() is None, self.said()

    def down(self) -> None:
        """Stop with `wpclone down`, which returns when all has stopped."""
        assert self.process is not None
        self.wpclone("down")
        assert self.process.wait(10) == 0, self.said()

    def end(self) -> None:
        """Stop whatever state it is in, and collect the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(120)
            finally:
                self.process.kill()

    def run(self, *arguments: str, timeout: float = 100, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run the command, whatever its exit code."""
        return subprocess.run(
            self._command(*arguments), env=self.environ | settings, capture_output=True, text=True, timeout=timeout, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def wpclone(self, *arguments: str, timeout: float = 100, **settings: str) -> str:
        """Run the command, which must succeed; what it printed."""
        done = self.run(*arguments, timeout=timeout, **settings)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.said()}"
        return done.stdout

    def json(self, *arguments: str, timeout: float = 100, **settings: str) -> Any:
        """Run the command with `-o json`, which must succeed; what it printed, parsed."""
        return json.loads(self.wpclone(*arguments, "-o", "json", timeout=timeout, **settings))

    def clone(self, url: str, username: str, password: str, *more: str) -> dict[str, Any]:
        """Clone a site and watch the job to its end; the job."""
        job: dict[str, Any] = self.json(
            "clone", "create", "--source", url, "--username", username, "--watch", *more, WPCLONE_SOURCE_PASSWORD=password
        )
        return job

    def part(self, name: str) -> dict[str, Any]:
        """A part as `wpclone status` shows it; without a pid when it is being started or stopped."""
        status: dict[str, Any] = json.loads(self.run("status", "-o", "json").stdout)
        return next((part for part in status["parts"] if part["name"] == name), {"name": name, "pid": None, "restarts": 0})

    def said(self) -> str:
        """The end of what `up` said, and of its children's logs."""
        logs = [self._log, *sorted(self.state.service.glob("*.log"))]
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]) for log in logs if log.exists())

    def _is_ready_or_over(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None or self.run("status").returncode == 0

    @property
    def _log(self) -> Path:
        return self.state.directory.parent / "up.log"

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "wpclone.cli", *arguments]


@contextmanager
def installation(**settings: str) -> Iterator[Installation]:
    """An installation that is down; ended and removed afterwards."""
    with open_directory("up") as place:
        made = Installation(State(place / "state"), settings)
        try:
            yield made
        finally:
            made.end()
