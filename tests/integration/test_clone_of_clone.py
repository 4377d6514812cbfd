"""Clones of clones on one machine: the same clone as by the ordinary way, no byte led astray, and whole after a kill."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.integration.test_clone_plan import HandingRuntime, Yard, admin
from tests.integration.test_nasty_source import _agent_in, _clone_content
from tests.support.hosting import HostingRun, KeeperRefused, new_clone_id, running_keeper, stage
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import SourceSite, agent_of
from tests.support.spaces import table_spaces
from workers.clone_databases import database_name
from wpclone.core.jobs.job import Job
from wpclone.core.jobs.states import JobState
from wpclone.core.secrets import KeyRing
from wpclone.standalone.clone_hosting import GUARD_FILES
from wpclone.standalone.demo.checks import Findings
from wpclone.standalone.demo.tables import check_tables
from wpclone.wordpress import files, near_tables
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.near_files import Brought

INTO = ".wpclone-incoming-1/near"


@pytest.fixture(autouse=True)
def _nothing_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandingRuntime, "brought", [])
    monkeypatch.setattr(SharingRuntime, "shared", {})


@pytest.fixture
def keeper(mariadb_server: Mariadb) -> Iterator[HostingRun]:
    with table_spaces(mariadb_server) as spaces, running_keeper(mariadb_server.place.port, spaces=spaces) as run:
        yield run


class SharingRuntime(HandingRuntime):
    """Remembers what became of tables."""

    shared: ClassVar[dict[tuple[str, str], str]] = {}

    async def share_table(self, clone_id: str, source: str, table: str, fence: int, most: int) -> str:
        self.shared[clone_id, table] = why = await super().share_table(clone_id, source, table, fence, most)
        return why


class SharingYard(Yard):
    """A yard whose clones of clones have all tables brought that are fit for it, however small."""

    def runtime(self) -> SharingRuntime:
        return SharingRuntime(self.keeper.place.socket)


@pytest.fixture
def work() -> Iterator[Path]:
    with open_directory("work") as directory:
        SERVICE.own(directory)
        yield directory


def _yard(source: SourceSite, server: Mariadb, keeper: HostingRun, work: Path) -> Yard:
    return SharingYard(source, server, keeper, work, KeyRing("k1", {"k1": bytes(32)}, bytes(32), os.urandom))


async def _cloned(yard: Yard, url: str) -> Job:
    """A clone of the clone at `url`, nobody's sign-in being needed."""
    job = await yard.clone({"username": "nobody", "password": "none"}, url=url)
    assert job.state is JobState.COMPLETED, job.error
    return job


def _url(job: Job) -> str:
    return str((job.result or {})["clone_url"])


def _files_report(job: Job) -> dict[str, Any]:
    facts = next(step.facts for step in job.steps if step.name == "copy_files")
    return {name: facts[name] for name in ("files", "bytes", "links", "excluded", "followed", "changed", "directories")}


@pytest.fixture
def small_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_tables, "LEAST_BYTES", 0)


def _shared_with(job: Job) -> set[str]:
    """The tables that were brought to a clone."""
    assert {why for (clone, _), why in SharingRuntime.shared.items() if clone == job.job_id} <= {""}
    return {table for clone, table in SharingRuntime.shared if clone == job.job_id}


@pytest.mark.full
@pytest.mark.usefixtures("small_too")
async def test_a_clone_of_a_nasty_clone_is_what_the_ordinary_way_makes_of_it_and_so_is_a_clone_of_that(
    nasty_source: SourceSite, mariadb_server: Mariadb, keeper: HostingRun, work: Path
) -> None:
    yard = _yard(nasty_source, mariadb_server, keeper, work)
    first = await yard.clone(admin(yard))
    assert first.state is JobState.COMPLETED, first.error
    beside = await _cloned(yard, _url(first))
    third = await _cloned(yard, _url(beside))
    site = keeper.ask("describe", clone_id=first.job_id)
    address = _agent_in(site)
    ordinary = await yard.clone({"agent_key": address.key.hex()}, url=address.url)
    (Path(site["docroot"]) / address.url.rpartition("/")[2]).unlink()
    assert ordinary.state is JobState.COMPLETED, ordinary.error
    facts = {step.name: step.facts for step in beside.steps}
    assert (facts["reach_source"]["own_clone"], facts["release_source"]) == (first.job_id, {"agent": "kept"})
    assert _files_report(beside) == _files_report(ordinary) == _files_report(third)
    assert _shared_with(beside) == _shared_with(third) >= {"Wp2_posts", "Wp2_postmeta", "Wp2_Mixed_Case"}
    assert _shared_with(ordinary) == set()
    assert len(HandingRuntime.brought) == 2 * _files_report(ordinary)["files"]
    wanted = await asyncio.to_thread(_clone_content, yard, ordinary.job_id)
    for job in (beside, third):
        tables, files = await asyncio.to_thread(_clone_content, yard, job.job_id)
        said: list[str] = []
        findings = Findings(said.append)
        check_tables(findings, wanted[0], tables, "clone of the clone")
        assert findings.ok, "\n".join(said)
        assert files == wanted[1]
    for job in (ordinary, third, beside, first):
        assert (await yard.delete(job.job_id)).state is JobState.COMPLETED
        assert yard.left_of(job.job_id) == []


def _content_of(server: Mariadb, job: Job, table: str) -> list[str]:
    """The rows of a clone's table, the clone's own name taken out."""
    rows = server.execute(f"SELECT * FROM `{database_name(job.job_id)}`.`{table}`")
    return sorted(repr(row).replace(job.job_id, "clone") for row in rows)


@pytest.mark.usefixtures("small_too")
async def test_a_clones_tables_and_private_files_come_along_and_what_it_links_to_outside_does_not(
    source_site: SourceSite, mariadb_server: Mariadb, keeper: HostingRun, work: Path
) -> None:
    yard = _yard(source_site, mariadb_server, keeper, work)
    first = await yard.clone(admin(yard))
    assert first.state is JobState.COMPLETED, first.error
    site = keeper.ask("describe", clone_id=first.job_id)
    uploads = Path(site["docroot"]) / "wp-content" / "uploads"
    secret = keeper.place.hosting.state / "secret.txt"
    secret.write_text("of the machine")
    secret.chmod(0o600)
    (uploads / "own.txt").write_text("the clone's own")
    (uploads / "link.txt").symlink_to(secret)
    (uploads / "records").symlink_to(keeper.place.hosting.state)
    for path in ("own.txt", "link.txt", "records"):
        os.chown(uploads / path, site["uid"], site["gid"], follow_symlinks=False)
    (uploads / "own.txt").chmod(0o600)
    second = await _cloned(yard, _url(first))
    assert len(HandingRuntime.brought) == _files_report(second)["files"]
    assert _shared_with(second) >= {"wp_posts", "wp_postmeta", "wp_comments"}
    for table in _shared_with(second):
        assert _content_of(mariadb_server, second, table) == _content_of(mariadb_server, first, table)
    there = Path(keeper.ask("describe", clone_id=second.job_id)["docroot"]) / "wp-content" / "uploads"
    assert (there / "own.txt").read_text() == "the clone's own"
    assert (there / "own.txt").stat().st_ino != (uploads / "own.txt").stat().st_ino
    assert not os.path.lexists(there / "link.txt")
    assert not os.path.lexists(there / "records")
    for job in (second, first):
        await yard.delete(job.job_id)


@pytest.fixture
def made(keeper: HostingRun) -> tuple[dict[str, Any], dict[str, Any]]:
    """A clone with a site, and one that takes files."""
    first, second = (keeper.ask("create", clone_id=new_clone_id()) for _ in range(2))
    stage(first, {"a/one.txt": "one", "two.txt": "two"})
    config = json.dumps({"expires_at": "2099-01-01T00:00:00Z"}).encode()
    guard = {name: config if name == "config.json" else b"x" for name in GUARD_FILES}
    encoded = {name: base64.b64encode(content).decode() for name, content in guard.items()}
    first = keeper.ask("adopt", clone_id=first["clone_id"], wp_config=base64.b64encode(b"<?php").decode(), guard=encoded)
    place = Path(second["staging"]) / INTO
    place.mkdir(parents=True)
    for path in (place, place.parent):
        SERVICE.own(path)
    return first, second


def _bring(keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]], *paths: bytes, into: str = INTO) -> list[str]:
    encoded = [base64.b64encode(path).decode() for path in paths]
    answer = keeper.ask("bring", clone_id=made[1]["clone_id"], source=made[0]["clone_id"], into=into, paths=encoded)
    return [state for state, _, _ in answer["files"]]


def test_files_are_brought_as_the_services_own_and_may_be_brought_again(
    keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    for _ in range(2):
        assert _bring(keeper, made, b"a/one.txt", b"two.txt", b"a/none.txt") == ["ok", "ok", "gone"]
    place = Path(made[1]["staging"]) / INTO
    assert {path.name: path.read_text() for path in place.iterdir()} == {"0": "one", "1": "two"}
    status = (place / "0").stat()
    assert (status.st_uid, status.st_nlink, status.st_mode & 0o777) == (SERVICE.uid, 1, 0o600)
    (place / "0").write_text("written in place")
    assert (Path(made[0]["docroot"]) / "a/one.txt").read_text() == "one"


def test_nothing_but_plain_files_of_the_clones_own_is_brought(
    keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    docroot, outside = Path(made[0]["docroot"]), keeper.place.hosting.state / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("of the machine")
    (docroot / "to-file").symlink_to(outside / "secret.txt")
    (docroot / "to-directory").symlink_to(outside)
    os.mkfifo(docroot / "pipe")
    os.link(outside / "secret.txt", docroot / "hard")
    paths = [b"to-file", b"to-directory/secret.txt", b"pipe", b"hard", b"a"]
    by_owner = "refused" if os.getuid() == 0 else "ok"  # without root there is one owner of all
    assert _bring(keeper, made, *paths) == ["refused", "refused", "refused", by_owner, "refused"]
    assert len(list((Path(made[1]["staging"]) / INTO).iterdir())) == (by_owner == "ok")


@pytest.mark.parametrize("path", [b"../two.txt", b"a/../../x", b"/etc/passwd", b"", b"a//one.txt", b"a/one.txt\0"])
def test_a_path_that_leaves_the_docroot_is_refused(
    keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]], path: bytes
) -> None:
    with pytest.raises(KeeperRefused) as refused:
        _bring(keeper, made, path)
    assert refused.value.reason in {"UNSAFE_FILE", "BAD_REQUEST"}


@pytest.mark.parametrize("into", ["wp-content", ".wpclone-incoming-1/../near", ".wpclone-incoming-1/near/x", "/tmp"])
def test_files_are_brought_to_no_other_place(keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]], into: str) -> None:
    with pytest.raises(KeeperRefused) as refused:
        _bring(keeper, made, b"two.txt", into=into)
    assert refused.value.reason == "UNSAFE_FILE"


def test_the_place_itself_may_be_no_link(keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]]) -> None:
    place, elsewhere = Path(made[1]["staging"]) / INTO, keeper.place.hosting.state / "elsewhere"
    elsewhere.mkdir()
    place.rmdir()
    place.symlink_to(elsewhere)
    with pytest.raises(KeeperRefused) as refused:
        _bring(keeper, made, b"two.txt")
    assert refused.value.reason == "UNSAFE_FILE"
    assert list(elsewhere.iterdir()) == []


def test_files_come_from_another_clone_that_has_a_site_into_one_that_has_none(
    keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    first, second = made
    for clone, source, reason in (
        (first, second, "NOT_ADOPTED"), (second, second, "INVALID_CLONE_ID"), (first, {"clone_id": "../x"}, "INVALID_CLONE_ID"),
        (second, {"clone_id": new_clone_id()}, "NOT_FOUND"),
    ):  # fmt: skip
        with pytest.raises(KeeperRefused) as refused:
            _bring(keeper, (source, clone), b"two.txt")
        assert refused.value.reason == reason


def _share(keeper: HostingRun, **args: object) -> str:
    why: str = keeper.ask("share_table", **{"table": "wp_posts", "fence": 3, "most": 1 << 20, **args})["why_not"]
    return why


def test_a_table_comes_from_a_clone_that_has_a_site_into_one_that_has_none_and_only_for_the_claim_that_fills_it(
    keeper: HostingRun, made: tuple[dict[str, Any], dict[str, Any]], mariadb_server: Mariadb
) -> None:
    first, second = (site["clone_id"] for site in made)
    names = [database_name(clone) for clone in (first, second)]
    try:
        for name in names:
            mariadb_server.execute(f"CREATE DATABASE {name}")
            mariadb_server.execute(f"CREATE TABLE {name}.wp_posts (id INT PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=DYNAMIC")
        mariadb_server.execute(f"INSERT INTO {names[0]}.wp_posts VALUES (4), (5)")
        mariadb_server.execute(f"CREATE TABLE {names[1]}.wpclone_control (name VARBINARY(255) PRIMARY KEY, fence BIGINT)")
        mariadb_server.execute(f"INSERT INTO {names[1]}.wpclone_control VALUES ('', 3)")
        refusals: tuple[tuple[dict[str, object], str], ...] = (
            ({"clone_id": first, "source": second}, "NOT_ADOPTED"), ({"clone_id": second, "source": second}, "INVALID_CLONE_ID"),
            ({"source": new_clone_id()}, "NOT_FOUND"), ({"fence": 2}, "STALE"), ({"fence": 4}, "STALE"),
            ({"fence": True}, "BAD_REQUEST"), ({"most": -1}, "BAD_REQUEST"), ({"table": "../mysql/user"}, "BAD_REQUEST"),
        )  # fmt: skip
        for args, reason in refusals:
            with pytest.raises(KeeperRefused) as refused:
                _share(keeper, **{"clone_id": second, "source": first, **args})
            assert refused.value.reason == reason
        assert _share(keeper, clone_id=second, source=first, table="wp_none") == "error 1146"
        assert mariadb_server.execute(f"SELECT COUNT(*) FROM {names[1]}.wp_posts") == [(0,)]
        assert _share(keeper, clone_id=second, source=first) == ""
        assert mariadb_server.execute(f"SELECT SUM(id) FROM {names[1]}.wp_posts") == [(9,)]
        assert mariadb_server.execute(f"SELECT SUM(id) FROM {names[0]}.wp_posts") == [(9,)]
    finally:
        for name in names:
            mariadb_server.execute(f"DROP DATABASE IF EXISTS {name}")


class Killed(BaseException):
    """Stands for the end of the worker."""


@dataclass
class Shelf:
    """Brings files of a site by plain copies, and dies in its call number `dies_in`, the files being there."""

    root: str
    dies_in: int = 0
    calls: int = 0
    brought: list[bytes] = field(default_factory=list)

    async def bring(self, paths: Sequence[bytes], into: bytes) -> list[Brought]:
        self.calls += 1
        found = []
        for number, path in enumerate(paths):
            name = os.fsencode(self.root) + b"/" + path
            shutil.copyfile(name, into + b"/%d" % number)
            status = os.stat(name)
            found.append(Brought(True, status.st_size, int(status.st_mtime)))
        if self.calls == self.dies_in:
            raise Killed
        self.brought += paths
        return found


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_BATCH_FILES", 300)


@pytest.mark.usefixtures("few_at_once")
async def test_a_copy_that_ended_between_bringing_and_taking_is_finished_with_only_the_rest(
    source_site: SourceSite, work: Path
) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        ordinary = await copy_files(
            agent, report, work / "ordinary", fence=Fence(work / "state", 1), progress=lambda counts: None
        )
        first, second = Shelf(report.roots[0].path, dies_in=2), Shelf(report.roots[0].path)
        with pytest.raises(Killed):
            await copy_files(
                agent, report, work / "beside", fence=Fence(work / "own", 1), progress=lambda counts: None, near=first
            )
        copied = await copy_files(
            agent, report, work / "beside", fence=Fence(work / "own", 2), progress=lambda counts: None, near=second
        )
    assert set(first.brought).isdisjoint(second.brought)
    assert (len(first.brought), len(first.brought) + len(second.brought)) == (300, copied.files)
    assert copied == ordinary
    assert _tree(work / "beside") == _tree(work / "ordinary")


async def test_what_an_older_claim_brought_gets_no_name(source_site: SourceSite, work: Path) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)

        class Overtaken(Shelf):
            async def bring(self, paths: Sequence[bytes], into: bytes) -> list[Brought]:
                found = await super().bring(paths, into)
                Fence(work / "own", 2).claim()
                return found

        with pytest.raises(FencedOff):
            await copy_files(
                agent, report, work / "beside", fence=Fence(work / "own", 1), progress=lambda counts: None,
                near=Overtaken(report.roots[0].path),
            )  # fmt: skip
    assert [path for path in (work / "beside").rglob("*") if path.is_file() and ".wpclone-incoming" not in str(path)] == []


def _tree(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file below a root: mode, time, content."""
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            0 if path.name == ".htaccess" else int(path.stat().st_mtime),
            path.read_bytes(),
        )
        for path in found
    }
