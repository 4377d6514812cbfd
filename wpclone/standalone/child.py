"""A child process in its own process group, under its own uid, that never outlives its stop.

Source of the process-group rule: setpgid(2); a signal to the negative group id reaches every descendant that did not
leave the group, which is how Apache's and PHP's workers are caught.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL("libc.so.6", use_errno=True)


def _die_with_parent() -> None:
    """Ask the kernel to end this child when its parent ends, however the parent ends (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@dataclass(frozen=True)
class Account:
    """The numeric user and group a child runs as. No passwd entry is needed."""

    uid: int
    gid: int

    @classmethod
    def current(cls) -> Account:
        """The account of this process."""
        return cls(os.getuid(), os.getgid())

    def own(self, path: Path) -> None:
        """Hand `path` (not its content, nor what it links to) to this account; needs root unless it is already ours."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


class Child:
    """One running child. `stop` ends its whole process group: SIGTERM, a grace in seconds, then SIGKILL."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        argv: Sequence[str],
        *,
        account: Account,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        dies_with_parent: bool = True,
    ) -> Self:
        """Start `argv` with exactly `env`, its output appended to `log`. Raises FileNotFoundError for a missing program, OSError
        for a log that is not a plain file."""
        drop = os.getuid() == 0 and account.uid != 0
        with _opened(log) as out:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env),
                cwd=cwd,
                process_group=0,
                user=account.uid if drop else None,
                group=account.gid if drop else None,
                extra_groups=[] if drop else None,
                preexec_fn=_die_with_parent if dies_with_parent and not drop else None,
            )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The leader's process id, also its process group's."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the leader to end; the only await here without a timeout, because a supervisor owns it."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; silence when it has gone already."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def stop(self, *, grace: float = 10.0, first: signal.Signals = signal.SIGTERM) -> None:
        """End the group: `first`, up to `grace` seconds, then SIGKILL to whatever is left of it."""
        self.send(first)
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
        self.send(signal.SIGKILL)


def _opened(log: Path) -> BinaryIO:
    """The log for appending. Root opens it in a directory of the account whose program writes it: a link that account left there,
    symbolic or hard, must not have root write where it leads."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(fd)
        raise OSError(errno.EPERM, "not a file of its own", str(log))
    return os.fdopen(fd, "ab")
