"""`python -m workers`: one worker, from the environment, until SIGTERM or SIGINT. Exits 0 after a clean drain.

`python -m workers orphans` looks once at what the sweep finds, prints a line of JSON each, and changes nothing: its dry run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict

import structlog
import uvloop

from workers import bootstrap
from workers.maintenance.sweep import removes
from wpclone.core.jobs.errors import StepOutcome, WpcloneError
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


async def _orphans(settings: WorkerSettings) -> None:
    found = await bootstrap.orphans(settings)
    for clone in found.ended:
        would = "report" if settings.sweep == "report" else "delete"
        sys.stdout.write(json.dumps({"of": clone.clone_id, "record": clone.state.value, "would": would}) + "\n")
    for orphan in found.orphans:
        would = "remove" if removes(settings.sweep, orphan) else "report"
        sys.stdout.write(json.dumps({**asdict(orphan), "would": would}) + "\n")


def main(arguments: list[str]) -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="A worker of wpclone, until SIGTERM.")
    parser.add_argument("verb", nargs="?", choices=["work", "orphans"], default="work", help="orphans: the sweep's dry run")
    asked = parser.parse_args(arguments)
    configure("worker")
    try:
        uvloop.run((_orphans if asked.verb == "orphans" else _main)(read(WorkerSettings)))
    except (WpcloneError, StepOutcome, OSError, ValueError) as error:
        structlog.get_logger(__name__).error("worker.cannot_begin", error=str(error))
        return CANNOT_BEGIN
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
