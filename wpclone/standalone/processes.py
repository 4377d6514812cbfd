"""End every process of a clone, whichever parent, group or session it has moved to."""

from __future__ import annotations

import asyncio
from pathlib import Path

from wpclone.standalone.child import Account


class ProcessesRemain(RuntimeError):
    """Processes of a clone are still there after they were killed for ten seconds."""


async def end_all_of(account: Account) -> None:
    """Kill all processes of a uid that is only a clone's, and return when none is left.

    The kill is sent by a process that has become that uid, so that the kernel itself keeps it from reaching any other's:
    kill(2) with -1 signals what the sender may signal, and not the sender. Raises ProcessesRemain; ValueError for a uid
    below 1000, which is somebody else's.
    """
    if account.uid < 1000 or account.gid < 1000:
        raise ValueError(f"uid {account.uid} is no clone's")
    try:
        async with asyncio.timeout(10):
            while await asyncio.to_thread(_any_alive, account.uid):
                killer = await asyncio.create_subprocess_exec(
                    "/bin/sh", "-c", "kill -9 -1", user=account.uid, group=account.gid, extra_groups=[], env={}, cwd="/",
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
                await killer.wait()
    except TimeoutError:
        raise ProcessesRemain(f"processes of uid {account.uid} do not end") from None


async def end_started_with(argument: str) -> None:
    """Without uids of our own: kill what was started with `argument` (a path only one clone has) on its command line."""
    try:
        async with asyncio.timeout(10):
            while left := await asyncio.to_thread(_started_with, argument):
                for pid in left:
                    await _kill(pid)
    except TimeoutError:
        raise ProcessesRemain(f"processes started with {argument} do not end") from None


async def _kill(pid: int) -> None:
    killer = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"kill -9 {pid} 2>/dev/null || true", env={}, cwd="/")
    await killer.wait()


def _any_alive(uid: int) -> bool:
    return any(_real_uid(entry) == uid and not _is_zombie(entry) for entry in _processes())


def _started_with(argument: str) -> list[int]:
    return [int(entry.name) for entry in _processes() if argument.encode() in _read(entry / "cmdline").split(b"\0")]


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _real_uid(entry: Path) -> int | None:
    for line in _read(entry / "status").splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return None


def _is_zombie(entry: Path) -> bool:
    """Whether the process has ended and only waits to be reaped; it runs nothing any more."""
    return _read(entry / "stat").rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"], [])


def _read(path: Path) -> bytes:
    """A file of /proc; empty when its process has gone meanwhile or it is not ours to read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
