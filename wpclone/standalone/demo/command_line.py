"""The real `wpclone` command, run as a process: its progress goes to our stderr, its data comes back as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any


class CommandFailed(RuntimeError):
    """`wpclone …` ended with another code than 0; what it said went to stderr already."""


async def wpclone(*arguments: str, environ: Mapping[str, str], within: float = 300) -> dict[str, Any]:
    """Run `wpclone <arguments> --output json` and return what it printed. Raises CommandFailed, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wpclone.cli", *arguments, "--output", "json",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=dict(environ),
    )  # fmt: skip
    try:
        async with asyncio.timeout(within):
            out, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise CommandFailed(f"`wpclone {' '.join(arguments)}` ended with {process.returncode}")
    answer: dict[str, Any] = json.loads(out)
    return answer
