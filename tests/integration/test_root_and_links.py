"""Root runs other accounts' programs and writes into their directories: what those leave there must not lead it elsewhere."""

import asyncio
import os
from pathlib import Path

import pytest

from wpclone.standalone import envoy
from wpclone.standalone.account_files import replace_file
from wpclone.standalone.child import Account, Child
from wpclone.standalone.envoy import EnvoyPlace
from wpclone.standalone.readiness import ServerNotReady, answer_of, tail

HERE = Account.current()


async def _run(log: Path) -> None:
    child = await Child.start("echo", ["/bin/echo", "said"], account=HERE, env={}, log=log)
    await child.wait()


@pytest.mark.parametrize("leads", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_log_that_leads_elsewhere_is_not_written_through(leads, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    elsewhere = tmp_path / "shadow"
    elsewhere.write_text("root's\n")
    leads(elsewhere, tmp_path / "server.log")
    with pytest.raises(OSError, match=r"server\.log"):
        asyncio.run(_run(tmp_path / "server.log"))
    assert elsewhere.read_text() == "root's\n"


def test_a_log_that_is_a_pipe_does_not_hang_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "server.log")
    with pytest.raises(OSError, match=r"server\.log"):
        asyncio.run(asyncio.wait_for(_run(tmp_path / "server.log"), 20))


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(2):
        asyncio.run(_run(tmp_path / "server.log"))
    assert (tmp_path / "server.log").read_text() == "said\nsaid\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_handing_over_a_link_gives_away_the_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    key_ring, elsewhere = tmp_path / "key-ring.json", tmp_path / "shadow"
    elsewhere.write_text("root's")
    key_ring.symlink_to(elsewhere)
    Account(64990, 64990).own(key_ring)
    assert elsewhere.stat().st_uid == 0
    assert key_ring.lstat().st_uid == 64990


def test_a_configuration_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere, template = tmp_path / "shadow", tmp_path / "template.yaml"
    elsewhere.write_text("root's")
    template.write_text("port: ${API_PORT}\n")
    place = EnvoyPlace(tmp_path / "envoy", template, tmp_path / "d", tmp_path / "routes", 1, 2, 3, 4, HERE)
    place.directory.mkdir()
    place.configuration.symlink_to(elsewhere)
    envoy.prepare(place)
    assert elsewhere.read_text() == "root's"
    assert place.configuration.read_text() == "port: 1\n"


def test_a_replaced_file_has_exactly_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "ports.json", b"{}", mode=0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "ports.json").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["ports.json"]


def test_of_a_huge_log_only_its_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "apache.log"
    with log.open("wb") as file:
        file.truncate(1 << 35)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nthe last\n")
    assert tail(log, 2) == "last but one\nthe last"


def test_a_program_that_never_answers_is_ended_and_said_so(tmp_path: Path) -> None:
    async def play() -> Child:
        child = await Child.start("sleeper", ["/bin/sleep", "300"], account=HERE, env={}, log=tmp_path / "log")

        async def silence() -> bool | None:
            return None

        with pytest.raises(ServerNotReady, match="sleeper was not ready within 0 s"):
            await answer_of(child, silence, within=0.2, log=tmp_path / "log")
        return child

    assert asyncio.run(play()).exit_code is not None


def test_a_wait_that_is_cancelled_leaves_no_program_behind(tmp_path: Path) -> None:
    async def play() -> Child:
        child = await Child.start("sleeper", ["/bin/sleep", "300"], account=HERE, env={}, log=tmp_path / "log")
        asked = asyncio.Event()

        async def silence() -> bool | None:
            asked.set()
            return None

        waiting = asyncio.create_task(answer_of(child, silence, within=60, log=tmp_path / "log"))
        await asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        return child

    assert asyncio.run(play()).exit_code is not None
