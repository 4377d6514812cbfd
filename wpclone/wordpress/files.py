"""Copies a site's files: an index first, then their content in batches, links last.

Repeatable and resumable: after a kill at any point the same call finishes the same tree. What is not copied, and why, is
returned.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wpclone.wordpress import excludes
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Part
from wpclone.wordpress.blocking import blocking, ended, in_parts
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.fence import Fence
from wpclone.wordpress.file_choice import why_not
from wpclone.wordpress.file_rules import LeftOut, shown
from wpclone.wordpress.file_state import CopiedFile, FileState, Indexed
from wpclone.wordpress.file_sums import DirectorySum, DirectorySums
from wpclone.wordpress.file_writer import TreeWriter, checked_path
from wpclone.wordpress.htaccess import adapt
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.near_files import Near, bring
from wpclone.wordpress.progress import Counts, Progress
from wpclone.wordpress.roots import Root

__all__ = ["Fence", "FilesCopied", "copy_files"]

_BATCH_FILES = 1000
_BATCH_BYTES = 64 << 20
# What is written in one go by a thread: small enough that a cancelled copy stops within milliseconds.
_WRITE_BYTES = 4 << 20
_SPARE_BYTES = 32 << 20
_MOST_SHOWN = 500
_REREADS = 2

_STATES_LEFT_OUT = {
    "gone": "deleted at the source while it was copied",
    "unreadable": "the web server's user cannot read it",
    "refused": "its name is too long for this file system",
}


@dataclass(frozen=True)
class FilesCopied:
    """What a copy wrote. `bytes` and `files` count files' contents; `followed` are links out of the site, now the files they
    showed; `changed` are files that changed while they were read, so that their content is of no single moment; `directories` are
    counts and sums to compare by."""

    files: int
    bytes: int
    links: int
    excluded: tuple[LeftOut, ...]
    followed: tuple[str, ...]
    changed: tuple[str, ...]
    directories: tuple[DirectorySum, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain objects."""
        return asdict(self)


async def copy_files(
    agent: AgentClient, report: SiteReport, root: Path, *, fence: Fence, progress: Progress, exclude: Sequence[str] = (),
    near: Near | None = None,
) -> FilesCopied:  # fmt: skip
    """Write the site's files below `root`, the copy's docroot. `exclude` are globs of paths relative to it (see `excludes`); what
    they leave out is not listed, because the preflight counted it. `near` brings the content of what is on this machine.

    Raises SiteError (TOO_LITTLE_SPACE, HOSTILE_PATH, what requests raise) and FencedOff when a newer claim writes there.
    """
    await blocking(fence.claim)
    try:
        return await _copied(agent, report, root, fence, progress, exclude, near)
    except FileNotFoundError:
        fence.check()  # what is missing may have been cleared away by a newer claim
        raise


async def _copied(
    agent: AgentClient,
    report: SiteReport,
    root: Path,
    fence: Fence,
    progress: Progress,
    exclude: Sequence[str],
    near: Near | None,
) -> FilesCopied:
    state = FileState(fence.path, [[asdict(tree) for tree in report.roots], list(exclude)])
    if not await blocking(state.has_index):
        await _index(agent, report.roots, state, fence, exclude)
    copied = await _Copy(agent, report.roots, state, TreeWriter(root, fence), progress, near).run(root)
    path = urlsplit(report.siteurl).path.rstrip("/")
    adapted = await blocking(adapt, root, fence, path=path, has_permalinks=bool(report.permalink_structure))
    if adapted is not None:
        await blocking(state.note_left_out, [adapted])
    return replace(copied, excluded=state.left_out())


async def _index(agent: AgentClient, roots: Sequence[Root], state: FileState, fence: Fence, exclude: Sequence[str]) -> None:
    """Write the index: what is to be copied; and the list of what is not."""
    fence.check()  # what was is forgotten now
    out = state.begin_index(fence.number)
    try:
        for number, root in enumerate(roots):
            async with aclosing(agent.index(root.name, skip=list(root.skipped()))) as index:
                async for entries in index:
                    fence.check()
                    wanted, left_out = [], []
                    for entry in entries:
                        local = checked_path(root.local(checked_path(entry.path)))
                        reason = why_not(entry, root, exclude)
                        if reason is None:
                            wanted.append((entry, local))
                        elif reason != excludes.REASON:
                            left_out.append(LeftOut(shown(local), reason))
                    state.add(out, number, wanted)
                    state.note_left_out(left_out)
        await blocking(state.end_index, out)
    finally:
        out.close()


class _Copy:
    """One attempt at the files of an index."""

    def __init__(
        self,
        agent: AgentClient,
        roots: Sequence[Root],
        state: FileState,
        writer: TreeWriter,
        progress: Progress,
        near: Near | None,
    ) -> None:
        self._agent, self._roots, self._state, self._writer = agent, roots, state, writer
        self._progress, self._near = progress, near
        self._files = self._bytes = self._links = 0
        self._changed: list[str] = []
        self._sums = DirectorySums()

    async def run(self, root: Path) -> FilesCopied:
        done = await blocking(self._resume)
        await blocking(self._writer.begin)
        try:
            self._check_space(root)
            self._tell()
            await in_parts(self._directories())
            for batch in self._batches(done):
                rest = await self._bring(batch)
                if rest:
                    await self._read(rest)
            await in_parts(self._make_links())
        finally:
            await blocking(self._writer.end)
        followed = tuple(shown(item.local) for item in self._state.indexed("FD"))[:_MOST_SHOWN]
        excluded = self._state.left_out()
        changed = tuple(self._changed[:_MOST_SHOWN])
        return FilesCopied(self._files, self._bytes, self._links, excluded, followed, changed, self._sums.sums())

    def _resume(self) -> set[int]:
        """Numbers of the files that are done, by this or an earlier attempt."""
        done = set()
        for number, file in self._state.copied():
            if number not in done:
                done.add(number)
                self._count(file)
        return done

    def _count(self, file: CopiedFile) -> None:
        if file.state in _STATES_LEFT_OUT:
            self._state.note_left_out([LeftOut(shown(file.path), _STATES_LEFT_OUT[file.state])])
            return
        self._files += 1
        self._bytes += file.size
        self._sums.add(file.path, file.size, file.sha256)
        if file.state == "changed":
            self._changed.append(shown(file.path))

    def _check_space(self, root: Path) -> None:
        missing = self._state.bytes - self._bytes + _SPARE_BYTES
        free = shutil.disk_usage(root).free
        if missing > free:
            raise SiteError(Reason.TOO_LITTLE_SPACE, needed_bytes=str(missing), free_bytes=str(free))

    def _tell(self) -> None:
        self._progress(
            Counts(bytes_done=self._bytes, bytes_total=self._state.bytes, files_done=self._files, files_total=self._state.files)
        )

    def _directories(self) -> Iterator[None]:
        for item in self._state.indexed("dD"):
            self._writer.directory(item.local, item.entry.mode)
            yield

    def _make_links(self) -> Iterator[None]:
        for item in self._state.indexed("l"):
            target = self._roots[item.root].local(item.entry.target) if item.entry.target else b""
            missing = self._writer.link(item.local, target)
            if missing is None:
                self._links += 1
            else:
                self._state.note_left_out([missing])
            yield

    def _batches(self, done: set[int]) -> Iterator[list[Indexed]]:
        """Files not yet written, in runs of one root that one request can ask for."""
        batch: list[Indexed] = []
        size = 0
        for item in self._state.indexed("fF"):
            if item.number in done:
                continue
            if batch and (item.root != batch[0].root or len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += item.entry.size
        if batch:
            yield batch

    async def _bring(self, batch: list[Indexed]) -> list[Indexed]:
        """Copy what of a batch is near; the rest of it. What a link out of the site shows is the source's own to read."""
        near = self._near
        if near is None or self._roots[batch[0].root].path.rstrip("/") != near.root.rstrip("/"):
            return batch
        done = await bring(near, self._writer, [item for item in batch if item.entry.kind == "f"])
        self._note(done)
        numbers = {number for number, _ in done}
        return [item for item in batch if item.number not in numbers]

    def _note(self, done: list[tuple[int, CopiedFile]]) -> None:
        self._state.note_copied(done)
        for _, file in done:
            self._count(file)
        self._tell()

    async def _read(self, batch: list[Indexed]) -> None:
        """Copy a batch; files that change while they are read are read again, and in the end taken as they are."""
        for last_try in [False] * _REREADS + [True]:
            changed: list[tuple[int, CopiedFile]] = []
            async with aclosing(self._finished(batch)) as groups:
                async for group in groups:
                    self._note([one for one in group if last_try or one[1].state != "changed"])
                    changed += [one for one in group if not last_try and one[1].state == "changed"]
            if not changed:
                return
            again = {number for number, _ in changed}
            batch = [item for item in batch if item.number in again]

    async def _finished(self, batch: list[Indexed]) -> AsyncGenerator[list[tuple[int, CopiedFile]], None]:
        """Read from the source and write at the same time; yields what was finished, a group at a time."""
        writing: asyncio.Task[list[tuple[int, CopiedFile]]] | None = None
        try:
            async with aclosing(self._groups(batch)) as groups:
                async for group in groups:
                    if writing is not None:
                        yield await asyncio.shield(writing)
                    writing = asyncio.create_task(blocking(self._writer.write, group))
            if writing is not None:
                yield await asyncio.shield(writing)
        finally:
            if writing is not None:
                await ended(writing)  # it has a few megabytes to write
                writing.exception()  # raised above already, or less important than what ends this copy

    async def _groups(self, batch: list[Indexed]) -> AsyncGenerator[list[tuple[Indexed, Part]], None]:
        """The parts of a batch's files in groups of a few megabytes."""
        group: list[tuple[Indexed, Part]] = []
        size = 0
        root = self._roots[batch[0].root]
        async with aclosing(
            self._agent.read(root.name, [(item.entry.path, self._writer.offset(item)) for item in batch])
        ) as stream:
            async for parts in stream:
                for part in parts:
                    group.append((batch[part.index], part))
                    size += len(part.data)
                if size >= _WRITE_BYTES:
                    yield group
                    group, size = [], 0
        if group:
            yield group
