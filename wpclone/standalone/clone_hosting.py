"""The verbs of hosting a clone on this machine: create, bring, share_table, adopt, serve, describe, list, extend, delete.

Each may be called again and again, and be killed anywhere: the record is written first, what it describes is made or
removed by steps that find their own earlier work. Verbs on the same clone run one after the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from wpclone.standalone import processes, site_files
from wpclone.standalone.apache import ApachePlace, GuardPlace
from wpclone.standalone.child import Account
from wpclone.standalone.clone_sites import CLONE_ID, CloneSite, CloneSites, SiteState
from wpclone.standalone.file_sharing import bring_files
from wpclone.standalone.firewall import Firewall, Opening
from wpclone.standalone.http_probe import status_of
from wpclone.standalone.ports import is_free
from wpclone.standalone.processes import ProcessesRemain
from wpclone.standalone.readiness import ServerNotReady
from wpclone.standalone.routes import Route, write_routes
from wpclone.standalone.site_files import Owners, SiteDirectories
from wpclone.standalone.table_spaces import Stale, TableSpaces
from wpclone.standalone.web_servers import EndAll, WebServers

_LOG = logging.getLogger(__name__)

GUARD_FILES = frozenset({"guard.php", "mu-plugin.php", "capture-mail.sh", "robots.txt", "config.json"})
"""What `adopt` must be given; Apache's configuration names them."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Refused(Exception):
    """A verb that cannot be done: a `reason` in capitals for programs, a sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class HostingPlace:
    """Where and how one run hosts its clones.

    `state` is root's directory of records and sites, `routes` the one Envoy watches. `service` is the account of worker and
    server. `run` names this run, for its firewall table. `isolated` gives each clone a uid of `uids` and a firewall rule;
    without it everything runs as `service`. `edge_port` is Envoy's for clones, `database_port` MariaDB's, both on 127.0.0.1.
    `spaces` copies tables there; None has all of them copied row by row.
    """

    state: Path
    routes: Path
    service: Account
    run: str
    edge_port: int
    database_port: int
    isolated: bool
    uids: range
    ports: range
    wait_for_edge: bool
    spaces: TableSpaces | None = None

    def host(self, clone_id: str) -> str:
        """A clone's `name:port`."""
        return f"{clone_id}.localhost:{self.edge_port}"


class CloneHosting:
    """All clones of one run: their records, files, firewall, web servers and routes."""

    def __init__(self, place: HostingPlace) -> None:
        self._place = place
        self._sites = CloneSites(place.state / "records", place.uids, place.ports)
        self._servers = WebServers()
        self._firewall = Firewall(place.run, place.uids, (place.database_port, place.edge_port)) if place.isolated else None
        self._locks: dict[str, asyncio.Lock] = {}
        self._shared = asyncio.Lock()
        """Guards what all clones share: the firewall table, the route files, free uids and ports."""

    async def start(self) -> None:
        """Bring back what the records say: finish deletes, renew the firewall, start the web servers without waiting."""
        (self._place.state / "sites").mkdir(mode=0o711, parents=True, exist_ok=True)
        self._place.routes.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._sites.load()
        for site in self._sites.all():
            try:
                await (self._remove(site) if site.state is SiteState.DELETING else self._end_processes(site))
            except (OSError, ProcessesRemain) as error:
                # One clone's trouble keeps no other from coming back. Its own next start, or delete, meets it again.
                _LOG.warning("%s: what an earlier run left does not go: %s", site.clone_id, error)
        for site in self._sites.all():
            if site.state is SiteState.SERVING and not is_free(site.port):
                self._sites.save(replace(site, port=self._sites.free_port()))
        await self._open_up()
        await self._publish()
        for site in self._sites.all():
            if site.state is SiteState.SERVING:
                self._servers.keep(site.clone_id, self._apache(site), self._ender(site))

    async def stop(self) -> None:
        """End all web servers and take the firewall table away. The records stay, for the next start."""
        await self._servers.stop_all()
        for site in self._sites.all():
            await self._end_processes(site)
        if self._firewall:
            await self._firewall.remove()

    async def create(self, clone_id: str) -> dict[str, Any]:
        """Give a clone its uid, port, directories and firewall rule."""
        async with self._alone(clone_id):
            site = self._sites.get(clone_id)
            if site is None:
                async with self._shared:
                    own_uid = None if self._place.isolated else self._place.service.uid
                    site = self._sites.new(clone_id, own_uid=own_uid)
            self._not_deleting(site)
            await asyncio.to_thread(site_files.make_directories, self._directories(clone_id), self._owners(site))
            await self._open_up()
            return self._view(site)

    async def bring(self, clone_id: str, source: str, into: str, paths: Sequence[bytes]) -> dict[str, Any]:
        """Copy files of the clone `source` into the staging directory of a clone that has no site yet; what became of each."""
        async with self._alone(clone_id):
            site, other = self._pair(clone_id, source)
            there = self._directories(source), self._owners(other)
            here = self._directories(clone_id), self._owners(site)
            brought = await asyncio.to_thread(bring_files, *there, *here, into, paths)
            return {"files": brought}

    async def share_table(self, clone_id: str, source: str, table: str, *, fence: int, most: int) -> dict[str, Any]:
        """Give the empty table of a clone that has no site yet what the table of that name of the clone `source` holds.

        `why_not` is empty when it has it. `fence` is the claim that fills the clone's database, `most` bytes the table's file may
        have. After a refusal, or a kill, the table is to be made anew.
        """
        async with self._alone(clone_id):
            self._pair(clone_id, source)
            if self._place.spaces is None:
                return {"why_not": "tables are not shared here"}
            here, there = (f"wpc_{one.removeprefix('clone-')}" for one in (clone_id, source))
            try:
                why_not = await asyncio.to_thread(self._place.spaces.share, there, here, table, fence=fence, most=most)
            except Stale as error:
                raise Refused("STALE", str(error)) from None
            except ValueError as error:
                raise Refused("BAD_REQUEST", str(error)) from None
            return {"why_not": why_not}

    def _pair(self, clone_id: str, source: str) -> tuple[CloneSite, CloneSite]:
        """A clone that is being made and another that has its site, from which it is. Raises Refused."""
        if not CLONE_ID.fullmatch(source) or source == clone_id:
            raise Refused("INVALID_CLONE_ID", "content is brought from another clone, by its id")
        site, other = self._known(clone_id), self._adopted(source)
        if site.state is not SiteState.CREATED:
            raise Refused("ADOPTED", f"{clone_id} has its site already")
        return site, other

    async def adopt(self, clone_id: str, wp_config: bytes, wp_config_path: str, guard: Mapping[str, bytes]) -> dict[str, Any]:
        """Hand the copied files to the clone's uid, and put wp-config and the guard in place."""
        missing = GUARD_FILES - guard.keys()
        if missing or not all(_FILE_NAME.fullmatch(name) for name in guard):
            raise Refused(
                "BAD_REQUEST", f"the guard needs {', '.join(sorted(missing))}" if missing else "a guard file has a bad name"
            )
        ends = _guard_expiry(guard["config.json"])
        async with self._alone(clone_id):
            site = self._known(clone_id)
            await asyncio.to_thread(self._adopt_files, site, wp_config, wp_config_path, guard)
            state = SiteState.SERVING if site.state is SiteState.SERVING else SiteState.ADOPTED
            return self._view(self._sites.save(replace(site, state=state, expires_at=ends)))

    def _adopt_files(self, site: CloneSite, wp_config: bytes, wp_config_path: str, guard: Mapping[str, bytes]) -> None:
        place, owners = self._directories(site.clone_id), self._owners(site)
        site_files.make_directories(place, owners)
        # The guard first: whatever happens after, no page of the site is ever served without it.
        for name, content in guard.items():
            site_files.write_guard_file(place, owners, name, content)
        site_files.hand_over(place, owners)
        site_files.write_into_docroot(place, owners, wp_config_path, wp_config)

    async def serve(self, clone_id: str) -> dict[str, Any]:
        """Have the clone's Apache answer, at its own port and through Envoy."""
        async with self._alone(clone_id):
            site = self._adopted(clone_id)
            if not self._servers.is_running(clone_id) and not is_free(site.port):
                async with self._shared:
                    site = self._sites.save(replace(site, port=self._sites.free_port()))
            site = self._sites.save(replace(site, state=SiteState.SERVING))
            await self._open_up()
            try:
                await self._servers.serve(clone_id, self._apache(site), self._ender(site))
            except ServerNotReady as error:
                raise Refused("WEB_SERVER_FAILED", f"the clone's web server did not start: {error}") from error
            await self._publish()
            if self._place.wait_for_edge:
                await self._answering_at_edge(clone_id)
            return self._view(site)

    async def describe(self, clone_id: str) -> dict[str, Any]:
        """One clone."""
        return self._view(self._known(clone_id, deleting=True))

    async def list(self) -> dict[str, Any]:
        """Every clone."""
        return {"clones": [self._view(site) for site in self._sites.all()]}

    async def extend(self, clone_id: str, expires_at: str) -> dict[str, Any]:
        """Tell the clone's guard when it ends now."""
        _time(expires_at)
        async with self._alone(clone_id):
            site = self._adopted(clone_id)
            place, owners = self._directories(clone_id), self._owners(site)
            config = json.loads(await asyncio.to_thread((place.guard / "config.json").read_bytes))
            config["expires_at"] = expires_at
            await asyncio.to_thread(
                site_files.write_guard_file, place, owners, "config.json", json.dumps(config, indent=1).encode()
            )
            return self._view(self._sites.save(replace(site, expires_at=expires_at)))

    async def delete(self, clone_id: str) -> dict[str, Any]:
        """Remove all there is of a clone; unknown ones are gone already."""
        async with self._alone(clone_id):
            site = self._sites.get(clone_id)
            if site is not None:
                await self._remove(self._sites.save(replace(site, state=SiteState.DELETING)))
        return {"clone_id": clone_id}

    async def _remove(self, site: CloneSite) -> None:
        await self._publish(removing=True)
        await self._servers.stop(site.clone_id)
        await self._end_processes(site)
        await asyncio.to_thread(site_files.remove_tree, self._directories(site.clone_id).root)
        # The uid is free from here on, and nothing of its last owner is left.
        self._sites.forget(site.clone_id)
        await self._open_up()

    def _ender(self, site: CloneSite) -> EndAll:
        return lambda: self._end_processes(site)

    async def _end_processes(self, site: CloneSite) -> None:
        if self._place.isolated:
            await processes.end_all_of(Account(site.uid, site.uid))
        else:
            await processes.end_started_with(str(self._apache(site).configuration))

    async def _open_up(self) -> None:
        """Make the firewall fit the records."""
        if self._firewall:
            async with self._shared:
                await self._firewall.apply([Opening(site.uid, site.port) for site in self._sites.all()])

    async def _publish(self, *, removing: bool = False) -> None:
        """Make Envoy's routes fit the records."""
        async with self._shared:
            live = [
                Route(site.clone_id, f"{site.clone_id}.localhost", site.port)
                for site in self._sites.all()
                if site.state is SiteState.SERVING
            ]
            await asyncio.to_thread(write_routes, self._place.routes, live, removing=removing)

    async def _answering_at_edge(self, clone_id: str) -> None:
        try:
            async with asyncio.timeout(20):
                while True:
                    if await status_of(self._place.edge_port, self._place.host(clone_id), "/robots.txt", within=5) == 200:
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Refused("WEB_SERVER_FAILED", "the clone's web server runs, but Envoy did not lead to it within 20 s") from None

    @asynccontextmanager
    async def _alone(self, clone_id: str) -> AsyncIterator[None]:
        if not CLONE_ID.fullmatch(clone_id):
            raise Refused("INVALID_CLONE_ID", "a clone's id is clone- and 12 hexadecimal digits")
        async with self._locks.setdefault(clone_id, asyncio.Lock()):
            yield

    def _known(self, clone_id: str, *, deleting: bool = False) -> CloneSite:
        site = self._sites.get(clone_id)
        if site is None:
            raise Refused("NOT_FOUND", f"there is no {clone_id} on this machine")
        if not deleting:
            self._not_deleting(site)
        return site

    def _adopted(self, clone_id: str) -> CloneSite:
        site = self._known(clone_id)
        if site.state is SiteState.CREATED:
            raise Refused("NOT_ADOPTED", f"{clone_id} has no site yet")
        return site

    def _not_deleting(self, site: CloneSite) -> None:
        if site.state is SiteState.DELETING:
            raise Refused("DELETING", f"{site.clone_id} is being deleted")

    def _directories(self, clone_id: str) -> SiteDirectories:
        return SiteDirectories(self._place.state / "sites" / clone_id)

    def _owners(self, site: CloneSite) -> Owners:
        clone = Account(site.uid, site.uid) if self._place.isolated else self._place.service
        return Owners(self._place.service, clone, change=os.getuid() == 0)

    def _apache(self, site: CloneSite) -> ApachePlace:
        directories = self._directories(site.clone_id)
        return ApachePlace(
            directories.web, directories.docroot, site.port, self._place.host(site.clone_id), self._owners(site).clone,
            guard=GuardPlace(directories.guard, directories.guard_state), own_uid=self._place.isolated,
        )  # fmt: skip

    def _view(self, site: CloneSite) -> dict[str, Any]:
        """A clone as the protocol shows it."""
        directories = self._directories(site.clone_id)
        account = self._owners(site).clone
        host = self._place.host(site.clone_id)
        return {
            "clone_id": site.clone_id,
            "state": site.state.value,
            "url": f"http://{host}",
            "host": host,
            "docroot": str(directories.docroot),
            "staging": str(directories.staging),
            "guard_dir": str(directories.guard),
            "guard_state_dir": str(directories.guard_state),
            "uid": account.uid,
            "gid": account.gid,
            "port": site.port,
            "database_host": "127.0.0.1",
            "database_port": self._place.database_port,
            "egress": "rejected" if self._place.isolated else "filtered in WordPress only",
            "expires_at": site.expires_at,
            "web_server": self._servers.view(site.clone_id),
        }


def _guard_expiry(config: bytes) -> str:
    try:
        ends = json.loads(config)["expires_at"]
    except (ValueError, KeyError, TypeError):
        raise Refused("BAD_REQUEST", "config.json is not a guard's configuration") from None
    return _time(ends)


def _time(text: object) -> str:
    """A time as RFC 3339 in UTC. Raises Refused."""
    try:
        parsed = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise Refused("BAD_REQUEST", "expires_at is a time with its zone, as in 2026-01-01T00:00:00Z")
    return str(text)
