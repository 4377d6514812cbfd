"""A source that is a live clone of the customer's on this machine: its own agent reads it, and its files are copied beside.

So are its large tables, in the one database server. A clone's agent lies with its guard, so nothing is installed in the clone,
which refuses uploads, and nobody signs in to it: whoever owns a clone may copy it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from workers.clone_agent import clone_agent_address
from workers.clone_records import CloneRecords
from workers.runtimes import Place
from wpclone.core.jobs.job import Clone, Job
from wpclone.core.jobs.site_key import site_key
from wpclone.core.jobs.states import CloneState, JobKind
from wpclone.wordpress.agent.client import AgentAddress
from wpclone.wordpress.near_files import Brought

_HOST = re.compile(r"clone-[0-9a-f]{12}(?=\.)")


class CloneFiles(Protocol):
    """Copies files and tables between clones; the local runtime does."""

    async def describe(self, clone_id: str) -> Place | None:
        """See Runtime.describe."""

    async def bring(self, clone_id: str, source: str, into: str, paths: Sequence[bytes]) -> list[Brought]:
        """See LocalRuntime.bring."""

    async def share_table(self, clone_id: str, source: str, table: str, fence: int, most: int) -> str:
        """See LocalRuntime.share_table."""


@dataclass(frozen=True)
class Neighbours:
    """The clones beside the one to be made."""

    records: CloneRecords
    files: CloneFiles
    agent_of: Callable[[str, bytes], AgentAddress] = clone_agent_address

    async def source_of(self, job: Job) -> Clone | None:
        """The customer's own live clone on this machine that the job copies, if its source is one."""
        url = job.request["source_url"]
        named = _HOST.match(urlsplit(url).hostname or "") if job.kind is JobKind.CLONE else None
        clone = await self.records.clones.get_clone(named[0]) if named else None
        if clone is None or clone.customer_id != job.customer_id or clone.state is not CloneState.READY:
            return None
        is_here = clone.guard_key is not None and site_key(clone.url) == site_key(url)
        return clone if is_here and await self.files.describe(clone.clone_id) is not None else None

    async def agent(self, clone_id: str) -> AgentAddress:
        """Where the agent of a clone answers. Raises Fatal(CLONE_GONE)."""
        clone = await self.records.get(clone_id)
        return self.agent_of(clone.url, self.records.guard_key(clone))

    async def near(self, clone_id: str, source: str) -> NearClone | None:
        """What brings the content of `source` to the place that is made for `clone_id`; None when either is not here."""
        place, other = await self.files.describe(clone_id), await self.files.describe(source)
        if place is None or place.staging is None or other is None:
            return None
        return NearClone(self.files, clone_id, source, other.docroot, place.staging)


@dataclass(frozen=True)
class NearClone:
    """Brings the files of one clone to another's staging directory, and its tables to the other's database.

    As `wpclone.wordpress.near_files.Near` and `wpclone.wordpress.near_tables.NearTables` say.
    """

    files: CloneFiles
    clone_id: str
    source: str
    root: str
    staging: Path

    async def bring(self, paths: Sequence[bytes], into: bytes) -> list[Brought]:
        """See Near.bring."""
        below = into.removeprefix(os.fsencode(self.staging) + b"/")
        return await self.files.bring(self.clone_id, self.source, os.fsdecode(below), paths)

    async def bring_table(self, table: bytes, fence: int, most: int) -> str:
        """See NearTables.bring_table."""
        return await self.files.share_table(self.clone_id, self.source, table.decode("ascii"), fence, most)
