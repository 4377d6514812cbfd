"""A real WordPress to copy from, made by the product's own sample-site code, on its own port, uid and database."""

import os
import random
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Loop, Mariadb
from wpclone.standalone.sample_site import DatabaseAdmin, SampleOptions, SampleSite, make_sample_site
from wpclone.standalone.state import state_directory
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import agent_source
from wpclone.wordpress.session import SiteSession

_FETCH = Path(__file__).parents[2] / "deploy" / "local" / "fetch_wordpress"
LOCAL = AddressPolicy(allow_private=True)


def packages() -> Path:
    """Where the unpacked WordPress is; fetched now if `make setup` did not."""
    directory = state_directory(os.environ, uid=os.getuid()) / "packages"
    subprocess.run([str(_FETCH), str(directory)], check=True, timeout=120)
    return directory


@dataclass
class SourceSite:
    """A running source: the site, the directory around its docroot, and the server that holds its database."""

    site: SampleSite
    place: Path
    mariadb: Mariadb

    @property
    def url(self) -> str:
        return self.site.url

    @property
    def docroot(self) -> Path:
        return self.site.docroot

    def sql(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        return self.mariadb.execute(statement, *parameters, database=self.site.database)

    def put(self, path: str, content: bytes) -> Path:
        """Write a file into the docroot as the site's own user."""
        file = self.docroot / path
        for directory in reversed([parent for parent in file.parents if parent.is_relative_to(self.docroot)]):
            if not directory.exists():
                directory.mkdir()
                SERVICE.own(directory)
        file.write_bytes(content)
        SERVICE.own(file)
        return file

    def put_agent(self, *, expires_at: int = 0) -> AgentAddress:
        """An agent placed by hand, with a key and name of its own."""
        key, name = secrets.token_bytes(32), f"agent-{secrets.token_hex(6)}.php"
        self.put(name, agent_source(key=key, expires_at=expires_at or int(time.time()) + 3600))
        return AgentAddress(f"{self.url}/{name}", key)


@contextmanager
def running_source_site(mariadb: Mariadb, *, upload_bytes: int = 4_000_000, **options: object) -> Iterator[SourceSite]:
    """A new sample site, gone afterwards with its database and user."""
    loop = Loop()
    with open_directory("source") as directory:
        place = directory / "site"
        chosen = SampleOptions(port=free_port(), upload_bytes=upload_bytes, **options)  # type: ignore[arg-type]
        admin = DatabaseAdmin(mariadb.place.port, "root", mariadb.password)
        site = loop.run(make_sample_site(place, admin, packages=packages(), account=SERVICE, options=chosen))
        try:
            yield SourceSite(site, place, mariadb)
        finally:
            loop.run(site.stop())
            loop.close()
            mariadb.execute(f"DROP DATABASE {site.database}")
            mariadb.execute(f"DROP USER '{site.database}'@'127.0.0.1'")


@asynccontextmanager
async def site_session(*, silence: float = 60.0) -> AsyncIterator[SiteSession]:
    """A session that may talk to this machine, and waits so many seconds for a sign of life."""
    async with SiteSession(LOCAL, clock=time.time, chance=random.Random(secrets.randbits(64)), silence=silence) as session:
        yield session


@asynccontextmanager
async def agent_of(source: SourceSite) -> AsyncIterator[AgentClient]:
    """A client of an agent placed by hand, removed afterwards."""
    address = source.put_agent()
    try:
        async with site_session() as session:
            yield AgentClient(session, address)
    finally:
        (source.docroot / address.url.rpartition("/")[2]).unlink(missing_ok=True)
