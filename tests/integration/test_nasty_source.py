"""A clone of the nasty source against it: tables by checksum, files by hash, and what the copies themselves say they left out."""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.test_clone_plan import Yard, admin
from tests.integration.test_copy_tables import Target, target
from tests.support.hosting import fetch, running_keeper
from tests.support.nasty_source import BIG_BYTES, LINKS_LEFT_OUT, NESTED, OTHERS, PREFIX, UNREADABLE
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import SourceSite, agent_of
from workers.clone_databases import database_name
from workers.steps.copy_tables import mapping
from wpclone.core.jobs.states import JobState
from wpclone.core.secrets import KeyRing
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.mapping import Site
from wpclone.standalone.demo.tables import Database, check_tables, rows_of
from wpclone.wordpress.agent.client import AgentAddress
from wpclone.wordpress.agent.package import agent_source
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.rewrite import Rewriter
from wpclone.wordpress.tables import copy_tables

__all__ = ["target"]
CLONE = "http://clone-000000000000.localhost:8080"
DOCROOT = "/srv/clones/clone-000000000000/docroot"


@dataclass(frozen=True)
class Placed(Site):
    """A site with its content's directory, and its path as a part of its address."""

    content: str

    def without_address(self, content: bytes) -> bytes:
        path = self.url.removeprefix(f"http://{self.host}").encode()
        for spelling in self.spellings():
            for slash in (b"/", b"\\/", b"%2F"):
                content = content.replace(spelling + path.replace(b"/", slash), spelling) if path else content
        content = content.replace(self.content.encode(), b"{content}")
        return super().without_address(content)


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("nasty") as directory:
        yield directory


def _site(source: SourceSite) -> Placed:
    return Placed(source.url, str(source.docroot), str(source.place / "content"))


def _only_own(rows: dict[str, Counter[bytes]]) -> dict[str, Counter[bytes]]:
    return {name: counted for name, counted in rows.items() if name not in OTHERS}


async def test_every_table_arrives_whole_and_what_does_not_is_listed(nasty_source: SourceSite, target: Target) -> None:
    async with agent_of(nasty_source) as agent:
        report = await inspect(agent)
        copied = await copy_tables(
            agent, report, target.database, rewriter=Rewriter(mapping(report, CLONE, DOCROOT)), fence=1,
            progress=lambda counts: None,
        )  # fmt: skip
    said: list[str] = []
    findings = Findings(said.append)
    clone = Placed(CLONE, DOCROOT, f"{DOCROOT}/wp-content")
    there = await asyncio.to_thread(_rows, nasty_source, nasty_source.site.database, _site(nasty_source))
    here = await asyncio.to_thread(_rows, nasty_source, target.database.database, clone)
    del here["wpclone_control"]
    check_tables(findings, _only_own(there), here, "copy")
    assert findings.ok, "\n".join(said)
    assert {item.name for item in report.left_out} == set(OTHERS)
    assert {(item.name, item.reason) for item in copied.reported} == {
        (f"{PREFIX}zforeign", "a view; it could not be made (error 1146)"),
        (f"{PREFIX}parts", "partitions were dropped"),
        (f"{PREFIX}isam", "engine MyISAM was kept: InnoDB cannot have this table"),
    }
    assert int(str(target.sql(f"SELECT LENGTH(t) FROM {PREFIX}big WHERE id = 2")[0][0])) > BIG_BYTES


def _rows(source: SourceSite, name: str, site: Site) -> dict[str, Counter[bytes]]:
    return rows_of(Database(source.mariadb.place.port, source.mariadb.password, name, site))


async def test_every_file_arrives_whole_and_what_does_not_is_listed(nasty_source: SourceSite, place: Path) -> None:
    async with agent_of(nasty_source) as agent:
        report = await inspect(agent)
        copied = await copy_files(agent, report, place / "root", fence=Fence(place / "state", 1), progress=lambda counts: None)
        own = agent.address.url.rpartition("/")[2]
    there = _leaves(nasty_source.docroot) | {
        f"wp-content/{name}": what for name, what in _leaves(nasty_source.place / "content").items()
    }
    here = _leaves(place / "root")
    left_out = {item.name: item.reason for item in copied.excluded}
    assert set(left_out) == {*UNREADABLE, *LINKS_LEFT_OUT, NESTED, ".htaccess", "wp-config-sample.php"}
    lost = {path for path in there if path not in here and path != own}
    gone = {path for path in lost if not path.startswith((NESTED + "/", UNREADABLE[1] + "/"))}
    assert gone == {"wp-config-sample.php", UNREADABLE[0], "wp-content/uploads/link-config"}
    outside = _leaves(nasty_source.place / "outside")
    assert here.pop("wp-content/uploads/link-out/shown.txt") == outside["shown.txt"]
    core = {name: here.pop(name) for name in list(here) if name.startswith("wp-content/uploads/link-core/")}
    assert core == {
        f"wp-content/uploads/link-core/{name}": what for name, what in _leaves(nasty_source.docroot / "wp-admin/images").items()
    }
    here.pop(".htaccess")
    rules = (place / "root/.htaccess").read_text()
    assert "RewriteBase /\n" in rules
    assert "/blog" not in rules
    assert here == {path: what for path, what in there.items() if path in here}
    assert (place / "root/wp-content/uploads/empty-directory").is_dir()
    assert os.readlink(place / "root/wp-content/uploads/link-in") == "five.bin"


def _leaves(root: Path) -> dict[str, str]:
    """Every file below a root that can be read, by its hash; links to what is below another name are that."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for directory, _, names in os.walk(root)
        for path in (Path(directory) / name for name in names)
        if path.is_file()
    }


async def test_a_clone_works_and_a_clone_of_the_clone_is_the_clone(nasty_source: SourceSite, mariadb_server: Mariadb) -> None:
    with running_keeper(mariadb_server.place.port) as keeper, open_directory("work") as work:
        SERVICE.own(work)
        yard = Yard(nasty_source, mariadb_server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom))
        first = await yard.clone(admin(yard))
        assert first.state is JobState.COMPLETED, first.error
        site = keeper.ask("describe", clone_id=first.job_id)
        host = urlsplit(site["url"]).netloc
        for path, expected in (("/sample-post-1/", b"Sample post 1"), ("/wp-content/uploads/na%C3%AFve.txt", "naïve".encode())):
            page = await asyncio.to_thread(fetch, site["port"], host, path)
            assert (page.status, expected.decode() in page.body) == (200, True), path
            assert urlsplit(nasty_source.url).netloc not in page.body
        page = await asyncio.to_thread(fetch, site["port"], host, "/blog/sample-post-1/")  # a link without a host
        assert (page.status, page.headers["location"]) == (307, site["url"] + "/sample-post-1/")
        before = await asyncio.to_thread(_clone_content, yard, first.job_id)
        address = _agent_in(site)
        second = await yard.clone({"agent_key": address.key.hex()}, url=address.url)
        (Path(site["docroot"]) / address.url.rpartition("/")[2]).unlink()
        assert second.state is JobState.COMPLETED, second.error
        tables, files = await asyncio.to_thread(_clone_content, yard, second.job_id)
        said: list[str] = []
        findings = Findings(said.append)
        check_tables(findings, before[0], tables, "clone of the clone")
        assert findings.ok, "\n".join(said)
        assert files == before[1]
        for job in (second, first):
            assert (await yard.delete(job.job_id)).state is JobState.COMPLETED


def _agent_in(site: dict[str, Any]) -> AgentAddress:
    """An agent put into a clone by hand, at its own Apache's address: no Envoy stands before it here."""
    key, name = os.urandom(32), f"agent-{os.urandom(6).hex()}.php"
    file = Path(site["docroot"]) / name
    file.write_bytes(agent_source(key=key, expires_at=int(time.time()) + 3600))
    owner = file.parent.stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    return AgentAddress(f"http://{urlsplit(site['url']).hostname}:{site['port']}/{name}", key)


def _clone_content(yard: Yard, clone_id: str) -> tuple[dict[str, Counter[bytes]], dict[str, str]]:
    """A clone's rows, addresses taken out, and its files' hashes."""
    site = yard.keeper.ask("describe", clone_id=clone_id)
    server = yard.mariadb
    rows = rows_of(Database(server.place.port, server.password, database_name(clone_id), Site(site["url"], site["docroot"])))
    return rows, {name: what for name, what in _leaves(Path(site["docroot"])).items() if name != "wp-config.php"}
