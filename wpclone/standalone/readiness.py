"""Waiting until a program that was just started truly serves, and what to say when it never does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from wpclone.standalone.child import Child

T = TypeVar("T")

_PAUSE = 0.02
_TAIL_BYTES = 64 * 1024
"""More than this of a log is never read: a program may have written gigabytes."""


class ServerNotReady(RuntimeError):
    """A server of ours did not become ready; the message ends with the last lines of its log."""


async def answer_of(child: Child, ask: Callable[[], Awaitable[T | None]], *, within: float, log: Path, grace: float = 10.0) -> T:
    """What `ask` returns once it is not None. A child that ends before, or does not answer within `within` seconds, is
    ServerNotReady. Whatever ends the wait before an answer, a cancel too, ends the child (with `grace`): nobody else knows of it.
    """
    try:
        async with asyncio.timeout(within):
            while True:
                said = await ask()
                # Another program on this port may have answered; ours then ended because it could not listen.
                if child.exit_code is not None:
                    raise ServerNotReady(f"{child.name} ended with {child.exit_code}; {log} ends with: {tail(log)}")
                if said is not None:
                    return said
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        await child.stop(grace=grace)
        raise ServerNotReady(f"{child.name} was not ready within {within:.0f} s; {log} ends with: {tail(log)}") from None
    except BaseException:
        await child.stop(grace=grace)
        raise


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return "(no log)"
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return "\n".join(file.read(_TAIL_BYTES).decode(errors="replace").splitlines()[-lines:])
