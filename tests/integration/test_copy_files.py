"""Files of a real source, copied by the real agent into a directory."""

import asyncio
import hashlib
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.places import open_directory
from tests.support.source_site import SourceSite, agent_of
from tests.support.wait import until_async
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.agent.wire import Entry, Part
from wpclone.wordpress.errors import FencedOff, Reason, SiteError
from wpclone.wordpress.file_rules import directories_left_out
from wpclone.wordpress.file_state import copied_files
from wpclone.wordpress.file_sums import DirectorySums
from wpclone.wordpress.file_writer import TreeWriter
from wpclone.wordpress.files import Fence, FilesCopied, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.progress import Counts

_NOT_COPIED = {"wp-config.php", "wp-config-sample.php"}


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory("copy") as directory:
        yield directory


def _tree(root: Path) -> dict[str, str]:
    """Every name below a root with its content's hash, or where it leads."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = "-> " + str(path.resolve().relative_to(root.resolve()))
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "directory"
    return found


def _expected(source: SourceSite, agent: AgentClient) -> dict[str, str]:
    left_out = {*_NOT_COPIED, *map(os.fsdecode, directories_left_out()), agent.address.url.rpartition("/")[2]}
    return {name: what for name, what in _tree(source.docroot).items() if name not in left_out}


async def _copy(agent: AgentClient, place: Path, number: int = 1, exclude: Sequence[str] = ()) -> FilesCopied:
    seen: list[Counts] = []
    report = await inspect(agent)
    fence = Fence(place / "state", number)
    copied = await copy_files(agent, report, place / "root", fence=fence, progress=seen.append, exclude=exclude)
    assert [counts.bytes_done for counts in seen] == sorted(counts.bytes_done for counts in seen)
    assert seen[-1].bytes_done == copied.bytes
    return copied


async def test_a_copy_is_the_source_byte_for_byte(source_site: SourceSite, place: Path) -> None:
    async with agent_of(source_site) as agent:
        copied = await _copy(agent, place)
        assert _tree(place / "root") == _expected(source_site, agent)
    assert {item.name for item in copied.excluded} >= _NOT_COPIED
    assert copied.links == 1
    latest = place / "root" / "wp-content" / "uploads" / "latest.jpg"
    assert os.readlink(latest) == "2025/10/picture-1.jpg"
    files = {os.fsdecode(file.path): file.sha256 for file in copied_files(place / "state")}
    sums = DirectorySums()
    for name, sha256 in files.items():
        sums.add(os.fsencode(name), (place / "root" / name).stat().st_size, sha256)
    assert copied.directories == sums.sums()
    assert files == {name: what for name, what in _tree(place / "root").items() if what != "directory" and "->" not in what}
    login, original = place / "root" / "wp-login.php", source_site.docroot / "wp-login.php"
    assert int(login.stat().st_mtime) == int(original.stat().st_mtime)


async def test_a_second_copy_changes_nothing_and_a_finished_one_is_quick(source_site: SourceSite, place: Path) -> None:
    async with agent_of(source_site) as agent:
        first = await _copy(agent, place)
        times = {
            path: path.stat().st_ctime_ns for path in (place / "root").rglob("*") if path.is_file() and not path.is_symlink()
        }
        again = await _copy(agent, place, number=2)
    assert again == first
    assert times == {path: path.stat().st_ctime_ns for path in times}


async def test_drop_ins_host_files_and_caches_stay_behind_with_a_reason(source_site: SourceSite, place: Path) -> None:
    names = [
        "wp-content/object-cache.php",
        ".user.ini",
        "wp-content/cache/page.html",
        "wp-content/uploads/.user.ini",
        "backup.wpress",
    ]
    files = [source_site.put(name, b"x") for name in names]
    try:
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, place, exclude=["wp-content/themes/twentytwentythree/*"])
    finally:
        for file in files:
            file.unlink()
        (source_site.docroot / "wp-content/cache").rmdir()
    left_out = {item.name: item.reason for item in copied.excluded}
    gone = {"wp-content/object-cache.php", ".user.ini", "wp-content/cache", "wp-content/uploads/.user.ini", "backup.wpress"}
    assert gone <= set(left_out)
    for name in (*names, "wp-content/themes/twentytwentythree/style.css"):
        assert not (place / "root" / name).exists()


async def test_links_out_of_the_site_become_their_files_and_none_points_back(source_site: SourceSite, place: Path) -> None:
    outside = source_site.place / "elsewhere"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "kept.txt").write_text("outside")
    uploads = source_site.docroot / "wp-content" / "uploads"
    links = {
        "zz-out": outside,
        "zz-dead": Path("/nowhere"),
        "zz-up": source_site.docroot / "wp-admin",
        "zz-config": source_site.docroot / "wp-config.php",
    }
    for name, target in links.items():
        (uploads / name).symlink_to(target)
    try:
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, place)
    finally:
        for name in links:
            (uploads / name).unlink()
    root = place / "root"
    assert (root / "wp-content/uploads/zz-out/deep/kept.txt").read_text() == "outside"
    assert not (root / "wp-content/uploads/zz-out").is_symlink()
    assert os.readlink(root / "wp-content/uploads/zz-up") == "../../wp-admin"
    assert "wp-content/uploads/zz-out" in copied.followed
    assert {"wp-content/uploads/zz-dead", "wp-content/uploads/zz-config"} <= {item.name for item in copied.excluded}
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root.resolve())


_SCRIPT = """
import asyncio, json, random, sys, time
from pathlib import Path
from tests.support.source_site import LOCAL
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.files import Fence, copy_files
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.session import SiteSession

async def main(url, key, place, number):
    async with SiteSession(LOCAL, clock=time.time, chance=random.SystemRandom()) as session:
        agent = AgentClient(session, AgentAddress(url, bytes.fromhex(key)))
        report = await inspect(agent)
        fence = Fence(Path(place) / "state", int(number))
        await copy_files(agent, report, Path(place) / "root", fence=fence, progress=lambda counts: None)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_copy_killed_at_any_point_is_finished_by_the_next(source_site: SourceSite, place: Path) -> None:
    chance = random.Random(11)
    state = place / "state"
    async with agent_of(source_site) as agent:
        expected = _expected(source_site, agent)
        size = 0
        for number in range(1, 6):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SCRIPT, agent.address.url, agent.address.key.hex(), str(place), str(number)
            )
            wanted = size + chance.randrange(1, 40_000)

            async def grown(wanted: int = wanted, process: asyncio.subprocess.Process = process) -> bool:
                file = state / "copied"
                return process.returncode is not None or (file.exists() and file.stat().st_size >= wanted)

            await until_async(grown, within=30, every=0.001)
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
            size = (state / "copied").stat().st_size
        await _copy(agent, place, number=9)
        assert _tree(place / "root") == expected


async def test_an_older_claim_stops_before_it_writes(source_site: SourceSite, place: Path) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        newer = Fence(place / "state", 7)

        def overtake(counts: Counts) -> None:
            if counts.files_done > 100:
                newer.claim()

        with pytest.raises(FencedOff):
            await copy_files(agent, report, place / "root", fence=Fence(place / "state", 3), progress=overtake)
        written = len(_tree(place / "root"))
        with pytest.raises(FencedOff):
            await copy_files(agent, report, place / "root", fence=Fence(place / "state", 3), progress=overtake)
        assert len(_tree(place / "root")) == written
        await copy_files(agent, report, place / "root", fence=newer, progress=lambda counts: None)
        assert _tree(place / "root") == _expected(source_site, agent)


@pytest.mark.parametrize("how", ["overtaken", "taken back"])
async def test_an_older_claim_whose_place_is_cleared_away_under_it_knows_that_it_is_fenced_off(
    source_site: SourceSite, place: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the fence and its next file, which is then missing a directory."""
    real, looks = Fence.check, []

    def check(fence: Fence) -> None:
        real(fence)
        if fence.number == 3:
            looks.append(fence)
        if len(looks) == 50:
            looks.append(fence)
            clear()

    def clear() -> None:
        if how == "overtaken":
            newer = Fence(place / "state", 7)
            newer.claim()
            TreeWriter(place / "root", newer).begin()
        else:
            shutil.rmtree(place / "state")
            shutil.rmtree(place / "root")

    monkeypatch.setattr(Fence, "check", check)
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        with pytest.raises(FencedOff):
            await copy_files(agent, report, place / "root", fence=Fence(place / "state", 3), progress=lambda counts: None)
    assert len(looks) > 50


@pytest.mark.parametrize("call", ["begin", "directory", "write", "link", "end"])
async def test_a_cut_copy_ends_only_when_its_thread_has(
    source_site: SourceSite, place: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From then on nothing is written any more."""
    begun, go, calls = threading.Event(), threading.Event(), []
    real = getattr(TreeWriter, call)

    def held(*arguments: object) -> object:
        begun.set()
        go.wait(30)
        done = real(*arguments)
        calls.append(call)
        return done

    monkeypatch.setattr(TreeWriter, call, held)
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        fence = Fence(place / "state", 1)
        copying = asyncio.create_task(
            copy_files(agent, report, place / "root", fence=fence, progress=lambda counts: None)
        )  # fmt: skip
        await asyncio.to_thread(begun.wait, 60)
        copying.cancel()
        await asyncio.wait([copying], timeout=0.05)
        assert not copying.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
        at_its_end = len(calls)
        tree = _tree(place / "root")
        await asyncio.sleep(0)
        assert (len(calls), _tree(place / "root")) == (at_its_end, tree)


class _Hostile(AgentClient):
    """An agent that lies."""

    def __init__(self, real: AgentClient, entries: list[Entry]) -> None:
        super().__init__(real._session, real.address)
        self._entries = entries

    async def index(self, root: str, *, skip: Sequence[bytes] = (), after: bytes = b"") -> AsyncGenerator[list[Entry], None]:
        yield self._entries

    async def read(self, root: str, files: Sequence[tuple[bytes, int]]) -> AsyncGenerator[list[Part], None]:
        for i, _ in enumerate(files):
            yield [Part(i, 0, True, 4, 1, 0, memoryview(b"evil"))]


_ATTACKS = {
    "parent": [Entry("f", b"../evil", 4, 1, 0o644, b"")],
    "absolute": [Entry("f", b"/evil", 4, 1, 0o644, b"")],
    "inner parent": [Entry("f", b"a/../../evil", 4, 1, 0o644, b"")],
    "nul": [Entry("f", b"a\0b", 4, 1, 0o644, b"")],
    "link out": [Entry("l", b"out", 0, 1, 0o777, b"../..")],
    "through a file": [Entry("f", b"a", 4, 1, 0o644, b""), Entry("f", b"a/b", 4, 1, 0o644, b"")],
    "link then directory": [Entry("d", b"d", 0, 1, 0o755, b""), Entry("f", b"d", 4, 1, 0o644, b"")],
}


@pytest.mark.parametrize("attack", _ATTACKS)
async def test_a_hostile_source_writes_nothing_outside_the_copy(source_site: SourceSite, place: Path, attack: str) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        before = {path.name for path in place.parent.glob("evil")}
        with pytest.raises(SiteError) as stopped:
            await copy_files(
                _Hostile(agent, _ATTACKS[attack]), report, place / "root",
                fence=Fence(place / "state", 1), progress=lambda counts: None,
            )  # fmt: skip
    assert stopped.value.reason is Reason.HOSTILE_PATH
    assert {path.name for path in place.rglob("evil")} == set()
    assert {path.name for path in place.parent.glob("evil")} == before


async def test_a_file_that_changes_while_it_is_read_is_read_again(source_site: SourceSite, place: Path) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)

        class Restless(AgentClient):
            tries = 0

            async def read(self, root: str, files: Sequence[tuple[bytes, int]]) -> AsyncGenerator[list[Part], None]:
                async with aclosing(super().read(root, files)) as stream:
                    async for parts in stream:
                        yield [self._grown(part, files) for part in parts]
                self.tries += 1

            def _grown(self, part: Part, files: Sequence[tuple[bytes, int]]) -> Part:
                changed = self.tries == 0 and files[part.index][0] == b"readme.html"
                return replace(part, size=part.size + 1) if changed else part

        restless = Restless(agent._session, agent.address)
        copied = await copy_files(restless, report, place / "root", fence=Fence(place / "state", 1), progress=lambda counts: None)
        assert _tree(place / "root") == _expected(source_site, agent)
    assert copied.changed == ()
    assert restless.tries > 1


async def test_too_small_a_disk_is_told_before_it_is_full(
    source_site: SourceSite, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small:
        free = 1_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Small)
    async with agent_of(source_site) as agent:
        with pytest.raises(SiteError) as small:
            await _copy(agent, place)
    assert small.value.reason is Reason.TOO_LITTLE_SPACE


class _Cut(AgentClient):
    """A source that breaks off in the middle of a large file for good, or counts what it sends of it."""

    cut_at = 0
    sent = 0

    async def read(self, root: str, files: Sequence[tuple[bytes, int]]) -> AsyncGenerator[list[Part], None]:
        async with aclosing(super().read(root, files)) as stream:
            async for parts in stream:
                self.sent += sum(len(part.data) for part in parts if files[part.index][0].endswith(b"big.bin"))
                if self.cut_at and self.sent > self.cut_at:
                    raise SiteError(Reason.SOURCE_BROKEN, transient=False)
                yield parts


async def test_a_large_file_is_gone_on_with_in_its_middle(source_site: SourceSite, place: Path) -> None:
    size = 24 << 20
    big = source_site.put("wp-content/uploads/big.bin", random.Random(3).randbytes(size))
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            cut = _Cut(agent._session, agent.address)
            cut.cut_at = 18 << 20
            with pytest.raises(SiteError):
                await copy_files(cut, report, place / "root", fence=Fence(place / "state", 1), progress=lambda counts: None)
            whole = _Cut(agent._session, agent.address)
            await copy_files(whole, report, place / "root", fence=Fence(place / "state", 2), progress=lambda counts: None)
            assert 0 < whole.sent < size - (8 << 20)
            assert _tree(place / "root") == _expected(source_site, agent)
    finally:
        big.unlink()


async def test_a_large_file_that_changed_since_it_was_begun_is_begun_again(source_site: SourceSite, place: Path) -> None:
    size = 12 << 20
    big = source_site.put("wp-content/uploads/big.bin", random.Random(3).randbytes(size))
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            cut = _Cut(agent._session, agent.address)
            cut.cut_at = 8 << 20
            with pytest.raises(SiteError):
                await copy_files(cut, report, place / "root", fence=Fence(place / "state", 1), progress=lambda counts: None)
            source_site.put("wp-content/uploads/big.bin", random.Random(4).randbytes(size))
            os.utime(big, (1, 1_700_000_000))
            copied = await copy_files(
                agent, report, place / "root", fence=Fence(place / "state", 2), progress=lambda counts: None
            )
            assert _tree(place / "root") == _expected(source_site, agent)
    finally:
        big.unlink()
    assert copied.changed == ()
