"""The `wpclone` command as a process, with an environment of its own.

ended = await Shell("127.0.0.1:50051", home).run("job", "list")
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Shell:
    """Runs the command against one server, with an environment of its own."""

    def __init__(self, server: str, home: Path) -> None:
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(home), "WPCLONE_STATE_DIR": str(home), "WPCLONE_SERVER": server,
            "WPCLONE_TOKEN": "token-1", "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        }  # fmt: skip

    async def start(self, *words: str, **variables: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        # Tests that run in the background of a script have Ctrl-C ignored, and so would the command.
        return await asyncio.create_subprocess_exec(
            "env", "--default-signal=INT", sys.executable, "-m", "wpclone.cli", *words,
            stdin=pipe, stdout=pipe, stderr=pipe, env=self.environ | variables, cwd=self.environ["HOME"],
        )  # fmt: skip

    async def run(self, *words: str, stdin: str = "", **variables: str) -> Ended:
        process = await self.start(*words, **variables)
        async with asyncio.timeout(30):
            out, err = await process.communicate(stdin.encode())
        return Ended(process.returncode or 0, out.decode(), err.decode())
