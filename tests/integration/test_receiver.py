"""The receiver in a clone's pod: it obeys only its key, and nothing it is sent leaves the clone's own tree."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiohttp
import pytest

from tests.support.receivers import RunningReceiver, running_receiver
from workers.runtimes import Content
from workers.runtimes.receiver import Receiver, _frame
from wpclone.core.clock import SystemClock
from wpclone.core.jobs.errors import Fatal, RetryLater

KEY, SESSION = b"k" * 32, "0123456789abcdef"


@pytest.fixture
async def running() -> AsyncIterator[RunningReceiver]:
    # An address by chance, so that two runs of the tests on one machine do not meet.
    with running_receiver(f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}.1", KEY) as receiver:
        yield await receiver.up()


@pytest.fixture
def receiver(running: RunningReceiver) -> Receiver:
    return Receiver(running.address, KEY, SystemClock())


async def file(receiver: Receiver, path: bytes, data: bytes = b"x", **more: object) -> None:
    header = {"o": 0, "x": False, "t": 0, "last": True, **more}
    await receiver._ask("POST", f"/tree/{SESSION}", _frame("f", path, data, **header))  # type: ignore[arg-type]


async def test_nobody_without_the_key_is_heard(running: RunningReceiver) -> None:
    stranger = Receiver(running.address, b"s" * 32, SystemClock())
    with pytest.raises(Fatal) as raised:
        await file(stranger, b"index.php")
    assert raised.value.code == "RECEIVER_REFUSED"
    async with aiohttp.ClientSession() as session, session.get(f"{running.address}/state") as response:
        assert response.status == 403
    assert sorted(path.name for path in running.site.iterdir()) == ["content", "guard", "state"]


async def test_an_old_request_is_not_heard_again(running: RunningReceiver) -> None:
    class Late(SystemClock):
        def now(self):  # type: ignore[no-untyped-def]
            return super().now().replace(year=2020)

    with pytest.raises(Fatal):
        await Receiver(running.address, KEY, Late()).has_site()


@pytest.mark.parametrize("path", [b"../out", b"a/../../out", b"/etc/out", b"a//b", b"", b".", b"nul\0"])
async def test_a_path_that_leads_out_is_refused(running: RunningReceiver, receiver: Receiver, path: bytes) -> None:
    with pytest.raises(Fatal):
        await file(receiver, path)
    assert not list(running.site.parent.rglob("out"))


async def test_nothing_is_written_through_a_link(running: RunningReceiver, receiver: Receiver) -> None:
    await receiver._ask("POST", f"/tree/{SESSION}", _frame("l", b"away", b"../../guard"))
    with pytest.raises(Fatal):
        await file(receiver, b"away/config.json")
    await receiver._ask("POST", f"/tree/{SESSION}", _frame("l", b"file", b"../../guard/config.json"))
    with pytest.raises(Fatal):
        await file(receiver, b"file")
    assert list((running.site / "guard").iterdir()) == []


async def test_a_repeated_part_changes_nothing_and_a_shorter_file_is_cut(running: RunningReceiver, receiver: Receiver) -> None:
    await file(receiver, b"f", b"a long beginning")
    for _ in range(2):
        await file(receiver, b"f", b"one ", last=False)
        await file(receiver, b"f", b"two", o=4)
    assert (running.site / f"incoming-{SESSION}" / "f").read_bytes() == b"one two"


async def test_the_site_appears_whole_and_only_once(running: RunningReceiver, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "index.php").write_text("first")
    assert not await receiver.has_site()
    await receiver.send(tmp_path, SESSION)
    assert await receiver.has_site()
    (tmp_path / "index.php").write_text("second")
    await receiver.send(tmp_path, "f" * 16)
    assert (running.site / "content" / "docroot" / "index.php").read_text() == "first"
    assert sorted(path.name for path in running.site.iterdir()) == ["adopted", "content", "guard", "state"]


async def test_a_tree_another_worker_replaced_is_not_adopted(receiver: Receiver) -> None:
    await file(receiver, b"index.php")
    with pytest.raises(RetryLater):
        await receiver._ask("POST", "/adopt/" + "f" * 16, b"")


async def test_a_tree_of_many_batches_arrives_whole(
    running: RunningReceiver, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 40 kB and parts of 5 kB: hundreds of frames are dozens of requests."""
    monkeypatch.setattr("workers.runtimes.receiver.BATCH_BYTES", 40_000)
    monkeypatch.setattr("workers.runtimes.receiver._PART_BYTES", 5_000)
    tree, random = tmp_path / "tree", Random(7)
    for number in range(300):
        path = tree / f"{number % 7}" / f"{number % 11}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(random.choice((0, 40, 4_000, 90_000 if number % 60 == 0 else 900))))
        os.utime(path, (number, number))
    (tree / "0" / "link").symlink_to("0")
    await receiver.send(tree, SESSION)
    docroot = running.site / "content" / "docroot"
    assert _listed(docroot) == _listed(tree)
    assert (docroot / "0" / "link").readlink() == Path("0")


def _listed(tree: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its bytes and its time."""
    return {
        str(path.relative_to(tree)): (path.read_bytes(), int(path.stat().st_mtime))
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def test_what_a_lost_worker_sends_late_neither_takes_the_next_ones_tree_away_nor_leaves_half_of_it(
    running: RunningReceiver, receiver: Receiver
) -> None:
    late, other = _frame("f", b"late.php", b"x", o=0, x=False, t=0, last=True), "f" * 16
    await receiver._ask("POST", f"/tree/{SESSION}", b"")
    await file(receiver, b"index.php")
    with pytest.raises(RetryLater):
        await receiver._ask("POST", f"/tree/{other}", late)
    assert [path.name for path in (running.site / f"incoming-{SESSION}").iterdir()] == ["index.php"]
    await receiver._ask("POST", f"/tree/{other}", b"")  # its first words were the late ones
    with pytest.raises(RetryLater):
        await file(receiver, b"second.php")
    with pytest.raises(RetryLater):
        await receiver._ask("POST", f"/adopt/{SESSION}", b"")


async def test_content_replaces_whatever_lies_in_its_place(running: RunningReceiver, receiver: Receiver, tmp_path: Path) -> None:
    await receiver.send(_site(tmp_path), SESSION)
    docroot = running.site / "content" / "docroot"
    for text in (b"one", b"two"):
        await receiver.give(Content(text, {"guard.php": text}))
        assert (docroot / "wp-config.php").read_bytes() == (running.site / "guard" / "guard.php").read_bytes() == text


async def test_content_before_the_site_is_told_to_wait(receiver: Receiver) -> None:
    with pytest.raises(RetryLater):
        await receiver.give(Content(b"", {}))


async def test_a_guard_file_with_a_path_is_refused(running: RunningReceiver, receiver: Receiver, tmp_path: Path) -> None:
    await receiver.send(_site(tmp_path), SESSION)
    with pytest.raises(Fatal):
        await receiver.give(Content(b"", {"../state/x": b""}))


@pytest.mark.parametrize("body", [b"no frame", b'{"k":"f","p":"YQ==","n":9}\nshort', b'{"k":"f","p":"YQ==","n":-1}\n', b"[]\n"])
async def test_a_broken_frame_is_refused(receiver: Receiver, body: bytes) -> None:
    with pytest.raises(Fatal):
        await receiver._ask("POST", f"/tree/{SESSION}", body)


async def test_a_pod_that_is_away_is_worth_a_retry(running: RunningReceiver) -> None:
    class Hasty(SystemClock):
        async def sleep(self, seconds: float) -> None:
            return

    running.process.terminate()
    running.process.wait(30)
    with pytest.raises(RetryLater):
        await Receiver(running.address, KEY, Hasty()).has_site()


def _site(directory: Path) -> Path:
    (directory / "index.php").write_text("<?php")
    return directory
