"""`wpclone status`: what runs here, how it stands, and the clones."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wpclone.standalone.leftovers import ProcessMark, mark, runs
from wpclone.standalone.run_lock import holder
from wpclone.standalone.state import State, read_document, state_directory, write_public
from wpclone.standalone.supervisor import Standing

DOWN = 6
"""The exit code when nothing runs: the command line's UNREACHABLE."""


def write(path: Path, addresses: Mapping[str, str], standings: list[Standing], *, ready: bool) -> None:
    """Record what runs, for `read` and for whoever finds this after a kill -9."""
    parts = []
    for standing in standings:
        seen = mark(standing.child.pid) if standing.child else None
        parts.append(
            {
                "name": standing.part.name,
                "pid": seen.pid if seen else None,
                "started": seen.started if seen else None,
                "restarts": standing.restarts,
                "address": standing.part.address,
                "log": standing.part.log,
            }
        )
    write_public(path, {"pid": os.getpid(), "ready": ready, "addresses": dict(addresses), "parts": parts})


def marks(path: Path) -> list[ProcessMark]:
    """The processes a run recorded, in the order of their start."""
    parts = read_document(path).get("parts", [])
    return [ProcessMark(part["pid"], part["started"]) for part in parts if part.get("pid") and part.get("started")]


async def read(state: State) -> dict[str, Any]:
    """What `status` shows: `{"up": bool, "ready": bool, "left", "pid", "state", "addresses", "parts": […], "clones": […]}`.

    `left` counts the programs that go on running after their `up` was killed.
    """
    pid = holder(state.lock)
    if pid is None:
        return {
            "up": False,
            "ready": False,
            "left": sum(runs(seen) for seen in marks(state.status)),
            "pid": None,
            "state": str(state.directory),
            "addresses": {},
            "parts": [],
            "clones": [],
        }
    document = read_document(state.status)
    parts = [{**part, "state": "running" if part["pid"] else "restarting"} for part in document.get("parts", [])]
    return {
        "up": True,
        "ready": document.get("pid") == pid and bool(document.get("ready")),
        "left": 0,
        "pid": pid,
        "state": str(state.directory),
        "addresses": document.get("addresses", {}),
        "parts": parts,
        "clones": await _clones(state.keeper_socket),
    }


async def _clones(socket: Path) -> list[dict[str, Any]] | None:
    """The clones as the keeper lists them; None when it doesn't answer or we may not ask."""
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=8 * 1024 * 1024)
            try:
                writer.write(b'{"id": "status", "verb": "list", "args": {}}\n')
                await writer.drain()
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return None
    clones: list[dict[str, Any]] = answer["result"]["clones"] if answer.get("ok") else []
    return clones


def text(status: Mapping[str, Any]) -> str:
    """The status for people."""
    if status["left"]:
        return f"`wpclone up` for {status['state']} was killed and left {status['left']} programs: `wpclone down` ends them\n"
    if not status["up"]:
        return f"nothing runs for {status['state']}; `wpclone up` starts it\n"
    lines = [f"{'up' if status['ready'] else 'starting'}: process {status['pid']}, state in {status['state']}"]
    lines += [f"  {name:<14} {address}" for name, address in status["addresses"].items()]
    lines.append("parts")
    for part in status["parts"]:
        again = f", restarted {part['restarts']}×" if part["restarts"] else ""
        lines.append(f"  {part['name']:<14} {part['state']:<11} pid {part['pid'] or '-':<8} {part['address']}{again}")
    clones = status["clones"]
    if clones is None:
        lines.append("clones: the keeper does not answer")
    else:
        lines.append(f"clones: {len(clones)}")
        lines += [_clone(clone) for clone in clones]
    return "\n".join(lines) + "\n"


def _clone(clone: Mapping[str, Any]) -> str:
    server = clone["web_server"]
    again = f", web server restarted {server['restarts']}×" if server["restarts"] else ""
    return f"  {clone['url']}  {clone['state']}, web server {server['state']}{again}, until {clone['expires_at'] or '-'}"


def run(
    *, output: str = "table", environ: Mapping[str, str] = os.environ, write_out: Callable[[str], object] = sys.stdout.write
) -> int:
    """Show the status (`output`: table, json or jsonl); 0 when everything runs, else DOWN."""
    state = State(state_directory(environ, uid=os.getuid()))
    status = asyncio.run(read(state))
    write_out(text(status) if output == "table" else json.dumps(status, indent=None if output == "jsonl" else 1) + "\n")
    return 0 if status["ready"] and all(part["state"] == "running" for part in status["parts"]) else DOWN
