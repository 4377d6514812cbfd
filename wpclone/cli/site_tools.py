"""What `wpclone agent zip` and `wpclone rewrite` do."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from datetime import timedelta
from pathlib import Path

from wpclone.cli.complaint import Trouble, say
from wpclone.cli.exits import Exit
from wpclone.cli.options import Format
from wpclone.cli.rendering import write
from wpclone.cli.table import pairs
from wpclone.wordpress.agent.package import agent_zip as packed
from wpclone.wordpress.agent.package import keyless_agent_zip as packed_without_key
from wpclone.wordpress.rewrite import Mapping, Tally, rewrite_stream

_PIECE = 256 << 10


def agent_zip(to: Path, *, site: str, life: timedelta, output: Format) -> None:
    """Write a plugin with a key and a name of its own (0600: the key is in it); print where it will answer, and its key."""
    key = secrets.token_bytes(32)
    folder = f"wpc-{secrets.token_hex(12)}"
    plugin = packed(key=key, folder=folder, expires_at=int(time.time() + life.total_seconds()))
    _write_private(to, plugin)
    address = f"{site.rstrip('/')}/wp-content/plugins/{folder}/{folder}.php"
    show({"file": str(to), "url": address, "key": key.hex()}, output)
    say("install and activate the file in wp-admin (Plugins, Add New, Upload), put the key into a file, then:")
    say(f"wpclone clone create --source {address} --agent-key KEY_FILE")


def keyless_agent_zip(to: Path, *, site: str, output: Format) -> None:
    """Write a plugin without a key, under a name of its own."""
    folder = f"wpc-{secrets.token_hex(12)}"
    _write_private(to, packed_without_key(folder=folder))
    show({"file": str(to), "plugin": folder}, output)
    say("install the file in wp-admin (Plugins, Add New, Upload), make an application password, then:")
    say(f"wpclone clone create --source {site.rstrip('/')} --username NAME")


def show(made: dict[str, str], output: Format) -> None:
    """Write what was made, as asked."""
    if output is Format.TABLE:
        write(pairs(list(made.items())))
    else:
        write(json.dumps(made, indent=2 if output is Format.JSON else None))


def rewrite(old: list[str], new: str) -> None:
    """Rewrite stdin to stdout as a stream, in memory bounded by the largest value; say on stderr what was done and what left."""
    try:
        mapping = Mapping.of(old, new)
    except ValueError as error:
        raise Trouble(Exit.USAGE, str(error)) from error
    tally = Tally()
    sys.stdout.buffer.writelines(rewrite_stream(iter(lambda: sys.stdin.buffer.read(_PIECE), b""), mapping, tally))
    sys.stdout.buffer.flush()
    say(f"rewritten: {tally.rewritten}")
    for reason, count in sorted(tally.left.items()):
        say(f"left: {count} {reason}")


def _write_private(path: Path, content: bytes) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise Trouble(Exit.USAGE, f"{path} cannot be written: {error.strerror}") from error
