"""Takes files of a source on this machine, which somebody who may read them copies for us: none of their bytes come over HTTP.

What is copied is decided as ever, by the source's index. What was brought is read once, for its sum, and gets its name as a file
that was read from an agent does: after a look at the fence. What cannot be brought is read from the agent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from wpclone.wordpress.blocking import blocking, in_parts
from wpclone.wordpress.file_state import CopiedFile, Indexed
from wpclone.wordpress.file_writer import TreeWriter, disk_errors

_PIECE = 1 << 20
_PLACE = b"near"


@dataclass(frozen=True)
class Brought:
    """What became of a file: `is_whole` if it is there as it was at one moment; its size, and its time in epoch seconds."""

    is_whole: bool
    size: int
    mtime: int


class Near(Protocol):
    """Brings files of one source."""

    @property
    def root(self) -> str:
        """The directory that paths are relative to, as the source's agent names it."""

    async def bring(self, paths: Sequence[bytes], into: bytes) -> list[Brought]:
        """Copy plain files into the directory `into` of the copy's docroot, each called by its number. No link is followed."""


async def bring(near: Near, writer: TreeWriter, items: Sequence[Indexed]) -> list[tuple[int, CopiedFile]]:
    """Copy these files of the source; those that were, each at one moment. Raises FencedOff."""
    place = await blocking(writer.empty_place, _PLACE)
    found = await near.bring([item.entry.path for item in items], place)
    return [one for one in await in_parts(_take(writer, place, items, found)) if one is not None]


def _take(
    writer: TreeWriter, place: bytes, items: Sequence[Indexed], brought: Sequence[Brought]
) -> Iterator[tuple[int, CopiedFile] | None]:
    """Give whole files their names; yields what is done, and None often, so that this can be cut."""
    held = memoryview(bytearray(_PIECE))  # one for all: fresh memory for each piece costs as much as its sum
    for number, (item, found) in enumerate(zip(items, brought, strict=True)):
        if not found.is_whole:
            continue
        path = place + b"/%d" % number
        digest, opened = hashlib.sha256(), os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            while size := os.readv(opened, [held]):
                digest.update(held[:size])
                yield None
            os.fchmod(opened, (item.entry.mode & 0o755) | 0o600)
            os.utime(opened, (found.mtime, found.mtime))
        finally:
            os.close(opened)
        with disk_errors(item.local):
            is_placed = writer.place(item, path)
        done = CopiedFile(item.local, found.size, digest.hexdigest(), "ok")
        yield item.number, done if is_placed else CopiedFile(item.local, 0, "", "refused")
