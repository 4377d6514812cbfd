"""Everything the demonstration needs around the service: a sample source with a MariaDB of its own, a sink, and `wpclone up`.

All of it lies in one directory, on ports of its own, and is gone at the end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone import mariadb, status
from wpclone.standalone.child import Account, Child
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.sink import Sink
from wpclone.standalone.demo.tables import Database
from wpclone.standalone.mariadb import MariadbPlace
from wpclone.standalone.programs import checkout
from wpclone.standalone.readiness import answer_of
from wpclone.standalone.sample_site import DatabaseAdmin, SampleOptions, SampleSite, make_sample_site
from wpclone.standalone.state import State, packages_directory, read_document

Say = Callable[[str], None]
_VISITOR_UID = 64995
"""The source's own account, so that nothing of the service can read it by being the same user."""


@dataclass(frozen=True)
class Stage:
    """What stands when the play begins."""

    source: SampleSite
    source_database: Database
    sink: Sink
    state: State
    environ: Mapping[str, str]

    @property
    def site(self) -> Site:
        """The source as an address."""
        return Site(self.source.url, str(self.source.docroot))

    def client(self) -> dict[str, str]:
        """What `wpclone up` wrote for its clients: server, rest, token."""
        return read_document(self.state.client)


@asynccontextmanager
async def staged(environ: Mapping[str, str], say: Say) -> AsyncIterator[Stage]:
    """Build the stage, yield it, and take everything down again. Raises ServerNotReady, FileNotFoundError, OSError."""
    async with AsyncExitStack() as stack:
        place = stack.enter_context(_directory(environ))
        account = Account(_VISITOR_UID, _VISITOR_UID) if os.getuid() == 0 else Account.current()
        source_port, sink_port, database_port = _free_ports(3)
        state = State(place / "state")
        inner = {
            **environ,
            "WPCLONE_STATE_DIR": str(state.directory),
            "WPCLONE_ALLOW_SOURCE_HOSTS": f"source.localhost:{source_port}",
        }
        sink = await stack.enter_async_context(Sink(sink_port))
        service = asyncio.create_task(_start_service(place, state, inner), name="start service")
        stack.push_async_callback(_stop_service, service)
        say("making a source site: 20 posts, 60 MB of uploads, a second administrator, a plugin that calls home")
        db_place = MariadbPlace(place / "source-db", database_port, account)
        password = await mariadb.prepare(db_place)
        stack.push_async_callback((await mariadb.start(db_place, password)).stop)
        options = SampleOptions(port=source_port, upload_bytes=60_000_000, sink=f"127.0.0.1:{sink_port}")
        admin = DatabaseAdmin(database_port, "root", password)
        packages = packages_directory(environ, uid=os.getuid())
        source = await make_sample_site(place / "source", admin, packages=packages, account=account, options=options)
        stack.push_async_callback(source.stop)
        say(f"the source answers at {source.url}")
        say("starting the service: MariaDB, nats-server, Envoy, server, worker")
        await asyncio.shield(service)
        say(f"the service is up, state in {state.directory}")
        database = Database(database_port, password, source.database, Site(source.url, str(source.docroot)))
        yield Stage(source, database, sink, state, inner)


async def _start_service(place: Path, state: State, environ: Mapping[str, str]) -> Child:
    """`wpclone up` as a process of its own, as anybody would start it. Returns when every part is ready."""
    log = place / "up.log"
    root = checkout()
    env = {**environ, "PYTHONPATH": f"{root}:{root / 'gen'}"}
    child = await Child.start(
        "up", [sys.executable, "-m", "wpclone.cli", "up"], account=Account.current(), env=env, log=log, cwd=root
    )

    async def ready() -> bool | None:
        return bool((await status.read(state)).get("ready")) or None

    await answer_of(child, ready, within=180, log=log, grace=120)
    return child


async def _stop_service(service: asyncio.Task[Child]) -> None:
    """Stop the service, also while it still starts. Its own failure to start was already told."""
    if not service.done():
        service.cancel()
    await asyncio.wait([service])
    if not service.cancelled() and service.exception() is None:
        await service.result().stop(grace=120)


@contextmanager
def _directory(environ: Mapping[str, str]) -> Iterator[Path]:
    """A new directory that the children's accounts may enter, gone afterwards. `TMPDIR` moves it."""
    path = Path(tempfile.mkdtemp(prefix="wpclone-demo-", dir=environ.get("TMPDIR", "/var/tmp")))  # noqa: S108  # mkdtemp's is private
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
