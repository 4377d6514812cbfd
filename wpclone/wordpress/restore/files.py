"""Stages a source's files beside the target's: only those that differ travel, in parts the target's limits allow.

Repeatable: what is whole at the target is not sent again, and a big file goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import encoded
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.file_rules import shown
from wpclone.wordpress.file_sums import DirectorySum, DirectorySums
from wpclone.wordpress.file_writer import checked_path
from wpclone.wordpress.inspect import SiteReport
from wpclone.wordpress.progress import Counts, Progress
from wpclone.wordpress.restore.file_plan import FileChoice, FilePlan, Found, as_before, link_text, make_plan, to_compare
from wpclone.wordpress.restore.report import TargetReport
from wpclone.wordpress.restore.target import RestoreTarget

_ASKED_AT_ONCE = 500
_ORDERS = 200
_CORE = (b"wp-admin", b"wp-includes")


async def plan_files(
    source: AgentClient, source_site: SiteReport, target: AgentClient, target_site: SiteReport, target_report: TargetReport,
    choice: FileChoice, *, before: Mapping[bytes, tuple[int, int]] | None = None, compares: bool = True,
) -> FilePlan:  # fmt: skip
    """Look at both sides and compare the content of what might be equal. Writes nothing. Raises SiteError.

    `before`: size and time of the source's files when both sides were the same. What the source did not change since is then the
    target's, whatever became of it there, and so is what the target added. Without `compares` what might be equal counts as
    changed: the most that may travel, known without reading a file.
    """
    ours = await _index(source, source_site)
    theirs = {found.path: found for found in await _index(target, target_site)}
    unchanged = set[bytes]() if before is None else as_before(ours, theirs, before)
    candidates = [found for found in to_compare(ours, theirs, choice) if compares and found.path not in unchanged]
    one = await _hashes(source, [(found.root, found.here) for found in candidates])
    other = await _hashes(target, [(theirs[found.path].root, theirs[found.path].here) for found in candidates])
    same = {found.path for found, here, there in zip(candidates, one, other, strict=True) if here and here == there} | unchanged
    return make_plan(ours, theirs, choice, same=same, roots=target_report.roots)


async def _index(agent: AgentClient, site: SiteReport) -> list[Found]:
    """Everything in a site's content directories, directories before what is in them."""
    found: list[Found] = []
    for root in site.roots:
        skip = [*root.skipped(), *(_CORE if not root.place else ())]
        async with aclosing(agent.index(root.name, skip=skip)) as index:
            async for entries in index:
                for entry in entries:
                    kind = {"f": "f", "F": "f", "d": "d", "D": "d", "l": "l"}.get(entry.kind)
                    path = root.rule_path(checked_path(entry.path))
                    if kind is None or not path.startswith(b"wp-content/"):
                        continue
                    target = root.rule_path(entry.target) if kind == "l" and entry.target else b""
                    found.append(Found(kind, path, entry.size, entry.mtime, entry.mode, target, root.name, entry.path))
    return found


async def _hashes(agent: AgentClient, files: Sequence[tuple[str, bytes]]) -> list[str]:
    """The SHA-256 of files, by root and path there; empty for one that is gone or cannot be read."""
    made: list[str] = []
    while len(made) < len(files):
        root = files[len(made)][0]
        batch = []
        for name, path in files[len(made) : len(made) + _ASKED_AT_ONCE]:
            if name != root:
                break
            batch.append(encoded(path))
        said = await agent.order({"verb": "hash", "root": root, "files": batch})
        made += [str(item["hash"]) for item in said[:-1]]
    return made


async def stage_files(source: AgentClient, target: RestoreTarget, plan: FilePlan, *, progress: Progress) -> None:
    """Write what the plan says beside the live files. Raises SiteError (TARGET_NOT_WRITABLE, TARGET_TOO_SMALL, STAGING_DAMAGED,
    what requests raise) and FencedOff."""
    files = [found for found in plan.writes if found.kind == "f"]
    there = await _there(target, plan, files)
    sender = _Sender(source, target, plan, progress)
    await sender.plain([found for found in plan.writes if found.kind != "f"])
    await sender.files([found for found in files if there[found.path] >= 0], there)


async def verify_files(
    source: AgentClient, target: RestoreTarget, plan: FilePlan, *, progress: Progress
) -> tuple[DirectorySum, ...]:
    """Compare the staged files with the source's by hash; one that changed meanwhile is sent once more. The sums are of what lies
    at the target. Raises SiteError(STAGING_DAMAGED) naming a file that is not the source's."""
    files = [found for found in plan.writes if found.kind == "f"]
    staged: dict[bytes, _Staged] = {}
    wrong = await _different(source, target, plan, files, staged)
    if wrong:
        sender = _Sender(source, target, plan, progress)
        await sender.files(wrong, dict.fromkeys((found.path for found in wrong), 0), anew=True)
        wrong = await _different(source, target, plan, wrong, staged)
    if wrong:
        name = shown(wrong[0].path)
        raise SiteError(Reason.STAGING_DAMAGED, f"{name} at the target is not what the source has.", file=name)
    sums = DirectorySums()
    for path, one in staged.items():
        sums.add(path, one.size, one.sha256)
    return sums.sums()


@dataclass(frozen=True)
class _Staged:
    """A staged file as the target read it back."""

    size: int
    sha256: str


async def _different(
    source: AgentClient, target: RestoreTarget, plan: FilePlan, files: Sequence[Found], staged: dict[bytes, _Staged]
) -> list[Found]:
    """Those of the files that are not the source's; what the target has of each is noted in `staged`."""
    wanted = await _hashes(source, [(found.root, found.here) for found in files])
    read: list[_Staged] = []
    while len(read) < len(files):
        batch = files[len(read) : len(read) + _ASKED_AT_ONCE]
        said = await target.order("hash", files=[_addressed(plan, found) for found in batch])
        # An agent put there by hand may be an older one, which says no sizes.
        read += [
            _Staged(int(str(item.get("size", one.size))), str(item["hash"])) for one, item in zip(batch, said[:-1], strict=False)
        ]
    staged |= {found.path: one for found, one in zip(files, read, strict=True)}
    # A file gone from the source meanwhile is the one the source had.
    return [found for found, one in zip(files, wanted, strict=True) if one and one != staged[found.path].sha256]


async def _there(target: RestoreTarget, plan: FilePlan, files: Sequence[Found]) -> dict[bytes, int]:
    """What the target has of each file: -1 for all of it, else the bytes of its beginning."""
    found: dict[bytes, int] = {}
    for first in range(0, len(files), _ASKED_AT_ONCE):
        part = files[first : first + _ASKED_AT_ONCE]
        said = await target.order("there", files=[_addressed(plan, one) for one in part])
        sizes = said[-1]["there"]
        if not isinstance(sizes, list) or len(sizes) != len(part):
            raise SiteError(Reason.SOURCE_DAMAGED_ANSWER)
        found |= {one.path: int(size) for one, size in zip(part, sizes, strict=True)}
    return found


def _addressed(plan: FilePlan, found: Found) -> list[str]:
    root, path = plan.address(found.path)
    return [root, encoded(path)]


class _Sender:
    """Orders on their way, several to a request, one request at a time while the next is read."""

    def __init__(self, source: AgentClient, target: RestoreTarget, plan: FilePlan, progress: Progress) -> None:
        self._source, self._target, self._plan, self._progress = source, target, plan, progress
        self._orders: list[dict[str, object]] = []
        self._data: list[bytes] = []
        self._held = 0
        self._sending: asyncio.Task[object] | None = None
        self._files = self._bytes = 0

    async def plain(self, found: Sequence[Found]) -> None:
        """Directories and links."""
        for one in found:
            order = self._order(one, one.kind)
            if one.kind == "l":
                order["target"] = encoded(link_text(one))
            await self._add(order, b"")
        await self._flush(end=True)

    async def files(self, found: Sequence[Found], there: Mapping[bytes, int], *, anew: bool = False) -> None:
        """Files' content, each from where the target has it."""
        try:
            for root in dict.fromkeys(one.root for one in found):
                await self._read(root, [one for one in found if one.root == root], there, anew)
            await self._flush(end=True)
        finally:
            if self._sending is not None and not self._sending.done():
                self._sending.cancel()
                await asyncio.wait([self._sending])

    async def _read(self, root: str, found: Sequence[Found], there: Mapping[bytes, int], anew: bool) -> None:
        begun = [one for one in found if there[one.path] > 0]
        known = dict(
            zip((one.path for one in begun), await _hashes(self._source, [(root, one.here) for one in begun]), strict=True)
        )
        digest = hashlib.sha256()
        async with aclosing(self._source.read(root, [(one.here, there[one.path]) for one in found])) as stream:
            async for parts in stream:
                for part in parts:
                    one = found[part.index]
                    if part.status != 0:
                        name = shown(one.path)
                        message = f"{name} cannot be read at the source any more; leave it out or try again."
                        raise SiteError(Reason.STAGING_DAMAGED, message, transient=part.status == 1, file=name)
                    if part.offset == there[one.path]:
                        digest = hashlib.sha256()
                    await self._part(one, part.offset, bytes(part.data), part.last, digest, known.get(one.path), anew)

    async def _part(
        self, one: Found, offset: int, data: bytes, last: bool, digest: hashlib._Hash, known: str | None, anew: bool
    ) -> None:
        digest.update(data)
        most = self._target.part_bytes
        for start in range(0, len(data) or 1, most):
            piece = data[start : start + most]
            ends = last and start + most >= len(data)
            order = self._order(one, "f")
            order |= {"offset": offset + start, "length": len(piece), "last": ends, "anew": anew}
            if ends:
                order["sha256"] = known or digest.hexdigest()
            await self._add(order, piece)
        self._bytes += len(data)
        self._files += last

    def _order(self, one: Found, kind: str) -> dict[str, object]:
        root, path = self._plan.address(one.path)
        return {"kind": kind, "root": root, "path": encoded(path), "mode": one.mode, "mtime": one.mtime}

    async def _add(self, order: dict[str, object], data: bytes) -> None:
        if self._orders and (self._held + len(data) > self._target.part_bytes or len(self._orders) >= _ORDERS):
            await self._flush()
        self._orders.append(order)
        self._data.append(data)
        self._held += len(data)

    async def _flush(self, *, end: bool = False) -> None:
        """Send what is held when the request before has ended."""
        if self._sending is not None:
            await self._sending
            self._sending = None
            self._progress(
                Counts(
                    bytes_done=self._bytes - self._held,
                    bytes_total=self._plan.size,
                    files_done=self._files,
                    files_total=len(self._plan.writes),
                )
            )
        if self._orders:
            data, orders = b"".join(self._data), self._orders
            self._orders, self._data, self._held = [], [], 0
            self._sending = asyncio.create_task(self._target.order("write", data, orders=orders))
        if end and self._sending is not None:
            await self._sending
            self._sending = None
