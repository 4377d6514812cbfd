"""What a run that was killed (SIGKILL, power) left running, ended before the next one starts.

A process is recognised by its id and its start time (field 22 of /proc/<pid>/stat, proc(5)), so that another program
which got the same id since is never touched.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessMark:
    """A process and when it started, in clock ticks since boot."""

    pid: int
    started: int


def mark(pid: int) -> ProcessMark | None:
    """The mark of a running process; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    return None if words[0] in {"Z", "X"} else ProcessMark(pid, int(words[19]))


def runs(seen: ProcessMark) -> bool:
    """Whether this very process still runs."""
    return mark(seen.pid) == seen


async def end_leftovers(marks: Iterable[ProcessMark], *, grace: float = 30.0) -> int:
    """End the process groups these processes lead, one after the other: SIGTERM, up to `grace` seconds each, SIGKILL.

    Give those first that lean on the others. Returns how many ran.
    """
    left = [seen for seen in marks if runs(seen)]
    for seen in left:
        _signal_group(seen, signal.SIGTERM)
        with suppress(TimeoutError):
            await _ended(seen, within=grace)
        _signal_group(seen, signal.SIGKILL)
        await _ended(seen, within=10)
    return len(left)


async def _ended(seen: ProcessMark, *, within: float) -> None:
    async with asyncio.timeout(within):
        while True:  # it is not our child, so only /proc tells
            if not runs(seen):
                return
            await asyncio.sleep(0.02)


def _signal_group(seen: ProcessMark, number: signal.Signals) -> None:
    """Signal the group while its leader runs: later its id may be another's."""
    if runs(seen):
        with suppress(ProcessLookupError):
            os.killpg(seen.pid, number)
