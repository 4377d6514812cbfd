"""`python -m workers`: one worker, from the environment, until SIGTERM or SIGINT. Exits 0 after a clean drain."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import structlog
import uvloop

from workers import bootstrap
from wpclone.core.jobs.errors import WpcloneError
from wpclone.core.logs import configure
from wpclone.core.settings import WorkerSettings, read

CANNOT_BEGIN = 3
"""The exit code when something needed is missing or wrong; the last log line says what."""


async def _main(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await bootstrap.work(settings, stop, failpoint=os.environ.get("WPCLONE_FAILPOINT", ""))


def main() -> int:
    """Run; the exit code."""
    configure("worker")
    try:
        uvloop.run(_main(read(WorkerSettings)))
    except (WpcloneError, OSError, ValueError) as error:
        structlog.get_logger(__name__).error("worker.cannot_begin", error=str(error))
        return CANNOT_BEGIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
