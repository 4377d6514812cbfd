"""The clones hosted on this machine, as records that outlive every process: one small JSON file each.

A record is written before what it describes is made and removed after that is gone, so that whatever a kill leaves
behind is named by a record.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from wpclone.standalone.ports import is_free

CLONE_ID = re.compile(r"clone-[0-9a-f]{12}")


class SiteState(StrEnum):
    """How far a clone's hosting has come."""

    CREATED = "created"
    ADOPTED = "adopted"
    SERVING = "serving"
    DELETING = "deleting"


class NoFreeUid(RuntimeError):
    """Every uid of this run's range belongs to a clone."""


class NoFreePort(RuntimeError):
    """Every port of this run's range is taken."""


@dataclass(frozen=True)
class CloneSite:
    """One clone's record: its uid, the loopback port of its Apache, its state and when it ends (RFC 3339, UTC)."""

    clone_id: str
    uid: int
    port: int
    state: SiteState
    expires_at: str | None = None


class CloneSites:
    """All records of one state directory, in memory and on disk. Used by one process at a time."""

    def __init__(self, directory: Path, uids: range, ports: range) -> None:
        self._directory = directory
        self._uids = uids
        self._ports = ports
        self._sites: dict[str, CloneSite] = {}
        self._next_uid = uids.start

    def load(self) -> None:
        """Read the records from disk. Raises ValueError for a file that is none, rather than forget a clone."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.glob("clone-*.new"):
            path.unlink()
        for path in sorted(self._directory.glob("clone-*.json")):
            fields = json.loads(path.read_bytes())
            site = CloneSite(**{**fields, "state": SiteState(fields["state"])})
            if not CLONE_ID.fullmatch(site.clone_id) or path.stem != site.clone_id:
                raise ValueError(f"{path} is not the record of a clone")
            self._sites[site.clone_id] = site

    def all(self) -> list[CloneSite]:
        """Every record, by id."""
        return [self._sites[clone_id] for clone_id in sorted(self._sites)]

    def get(self, clone_id: str) -> CloneSite | None:
        """One record."""
        return self._sites.get(clone_id)

    def new(self, clone_id: str, *, own_uid: int | None = None) -> CloneSite:
        """Record a clone with a free uid (or `own_uid`, without isolation) and a free port. Raises NoFreeUid, NoFreePort."""
        uid = self._free_uid() if own_uid is None else own_uid
        return self.save(CloneSite(clone_id, uid, self.free_port(), SiteState.CREATED))

    def save(self, site: CloneSite) -> CloneSite:
        """Write a record durably: to disk and into its directory before this returns."""
        path = self._directory / f"{site.clone_id}.json"
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(asdict(site), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        self._sync_directory()
        self._sites[site.clone_id] = site
        return site

    def forget(self, clone_id: str) -> None:
        """Remove a record; silent when there is none."""
        (self._directory / f"{clone_id}.json").unlink(missing_ok=True)
        self._sync_directory()
        self._sites.pop(clone_id, None)

    def free_port(self) -> int:
        """A port of the range that no record names and nobody listens on now. Raises NoFreePort."""
        taken = {site.port for site in self._sites.values()}
        for port in self._ports:
            if port not in taken and is_free(port):
                return port
        raise NoFreePort(f"no port from {self._ports.start} to {self._ports.stop - 1} is free")

    def _free_uid(self) -> int:
        taken = {site.uid for site in self._sites.values()}
        # Round the range: whatever a clone left in a directory everybody may write is not its successor's at once.
        for offset in range(len(self._uids)):
            uid = self._uids.start + (self._next_uid - self._uids.start + offset) % len(self._uids)
            if uid not in taken:
                self._next_uid = uid + 1
                return uid
        raise NoFreeUid(f"all {len(self._uids)} uids of this machine's clones are taken")

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
