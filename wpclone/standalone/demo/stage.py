"""What a demonstration needs besides the service: a directory, a sample source with a MariaDB of its own, and a sink.

All of it lies in one directory, on ports of its own, and is gone at the end. Who runs the service fills in the `Stage`: `local`
here, the test cluster elsewhere.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wpclone.standalone import mariadb
from wpclone.standalone.child import Account
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.sink import Sink
from wpclone.standalone.demo.tables import Database
from wpclone.standalone.mariadb import MariadbPlace
from wpclone.standalone.sample_site import DatabaseAdmin, SampleOptions, SampleSite, make_sample_site
from wpclone.standalone.state import packages_directory

Say = Callable[[str], None]
_VISITOR_UID = 64995
"""The source's own account, so that nothing of the service can read it by being the same user."""


@dataclass(frozen=True)
class Hosted:
    """Where one clone lies: `docroot` as the clone itself names it, `files` and `guard_state` as they are on this machine."""

    docroot: str
    files: Path
    guard_state: Path


@dataclass(frozen=True)
class Stage:
    """What stands when the play begins.

    `client` is where the service answers: server, rest, token. `environ` leads the command line there. `hosted` and
    `clone_database` find what a clone is made of. `farewell` tells who wants to look around how to.
    """

    source: SampleSite
    source_database: Database
    sink: Sink
    environ: Mapping[str, str]
    client: Mapping[str, str]
    hosted: Callable[[str], Awaitable[Hosted]]
    clone_database: Callable[[str, Site], Database]
    farewell: str

    @property
    def site(self) -> Site:
        """The source as an address."""
        return Site(self.source.url, str(self.source.docroot))


Staged = Callable[[Mapping[str, str], Say], AbstractAsyncContextManager[Stage]]
"""Builds the stage and takes it down again. Raises ServerNotReady, OSError."""


@dataclass(frozen=True)
class Grounds:
    """Where it takes place: a directory, and the source's name, address (where whoever copies it finds it) and ports."""

    directory: Path
    host: str
    address: str
    source_port: int
    sink_port: int
    database_port: int

    @property
    def source(self) -> str:
        """The source's `host:port`."""
        return f"{self.host}:{self.source_port}"


@contextmanager
def grounds(environ: Mapping[str, str], *, host: str = "source.localhost", address: str = "127.0.0.1") -> Iterator[Grounds]:
    """A new directory that the children's accounts may enter, gone afterwards. `TMPDIR` moves it."""
    path = Path(tempfile.mkdtemp(prefix="wpclone-demo-", dir=environ.get("TMPDIR", "/var/tmp")))  # noqa: S108  # mkdtemp's is private
    path.chmod(0o755)
    try:
        yield Grounds(path, host, address, *free_ports(3, address))
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def open_source(
    stack: AsyncExitStack, on: Grounds, environ: Mapping[str, str], say: Say
) -> tuple[SampleSite, Database, Sink]:
    """Make the source, its database and the sink that its plugin calls; `stack` ends them. Raises ServerNotReady, OSError."""
    sink = await stack.enter_async_context(Sink(on.sink_port, on.address))
    say("making a source site: 20 posts, 60 MB of uploads, a second administrator, a plugin that calls home")
    account = Account(_VISITOR_UID, _VISITOR_UID) if os.getuid() == 0 else Account.current()
    db_place = MariadbPlace(on.directory / "source-db", on.database_port, account)
    password = await mariadb.prepare(db_place)
    stack.push_async_callback((await mariadb.start(db_place, password)).stop)
    options = SampleOptions(
        port=on.source_port, host=on.host, upload_bytes=60_000_000, sink=f"{on.address}:{on.sink_port}",
        also_at="" if on.address == "127.0.0.1" else on.address,
    )  # fmt: skip
    admin = DatabaseAdmin(on.database_port, "root", password)
    packages = packages_directory(environ, uid=os.getuid())
    source = await make_sample_site(on.directory / "source", admin, packages=packages, account=account, options=options)
    stack.push_async_callback(source.stop)
    say(f"the source answers at {source.url}")
    return source, Database(on.database_port, password, source.database, Site(source.url, str(source.docroot))), sink


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports of `address` that nobody listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((address, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
