"""Removes a directory with all that is below it, in parts, so that a step that is cut stops soon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from wpclone.wordpress.blocking import in_parts


async def remove_tree(path: Path) -> None:
    """Remove it; success when it has gone already. Links are removed, never followed."""
    await in_parts(_removing(os.fsencode(path)))


def _removing(path: bytes) -> Iterator[None]:
    for directory, names, files in os.walk(path, topdown=False):
        for name in (*files, *names):
            _remove(os.path.join(directory, name))
            yield
    _remove(path)


def _remove(path: bytes) -> None:
    """One file, link or empty directory."""
    with suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)
