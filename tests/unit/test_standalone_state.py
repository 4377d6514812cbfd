"""State directories, their ports and their lock."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import until
from wpclone.standalone.child import Account
from wpclone.standalone.installation import WrongSetting, isolated
from wpclone.standalone.leftovers import ProcessMark, end_leftovers, mark
from wpclone.standalone.passwords import Passwords
from wpclone.standalone.ports import Ports, PortTaken, is_free
from wpclone.standalone.reach import Unreachable, refuse_unreachable
from wpclone.standalone.run_lock import AlreadyUp, RunLock, holder
from wpclone.standalone.state import State, state_directory


def test_the_state_directory_is_roots_or_the_users_own() -> None:
    assert state_directory({}, uid=0) == Path("/var/lib/wpclone")
    assert state_directory({"HOME": "/home/a"}, uid=1000) == Path("/home/a/.local/state/wpclone")
    assert state_directory({"XDG_STATE_HOME": "/s"}, uid=1000) == Path("/s/wpclone")
    assert state_directory({"WPCLONE_STATE_DIR": "/x"}, uid=0) == Path("/x")


def test_ports_are_chosen_once_and_avoid_what_is_taken(tmp_path: Path) -> None:
    first = Ports.kept(tmp_path / "ports.json", "0000000a", lambda _: True)
    other = Ports.kept(tmp_path / "other.json", "0000000a", lambda port: port != first.grpc)
    assert Ports.kept(tmp_path / "ports.json", "0000ffff", lambda _: False) == first
    assert first.grpc not in json.loads((tmp_path / "other.json").read_text()).values()
    assert other.edge != first.edge
    assert max(first.web_servers) < 32768


def test_a_taken_port_is_named_with_its_use(tmp_path: Path) -> None:
    ports = Ports.kept(tmp_path / "ports.json", "0000000a", lambda _: True)
    with pytest.raises(PortTaken, match=rf"port {ports.nats} \(nats\)\. End it, or change the port in "):
        ports.refuse_taken(tmp_path / "ports.json", lambda port: port != ports.nats)


def test_a_port_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_two_state_directories_share_no_uid_and_no_name() -> None:
    one, two = State(Path("/var/lib/wpclone")), State(Path("/var/lib/wpclone-two"))
    assert one.run != two.run
    assert set(one.clone_uids).isdisjoint(two.clone_uids)
    assert min(one.clone_uids) >= 200_000


def test_passwords_are_kept_private_and_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    made = Passwords.kept(path, os.urandom)
    assert Passwords.kept(path, os.urandom) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.jobs not in repr(made)


def test_the_lock_names_its_holder_and_admits_one(tmp_path: Path) -> None:
    path = tmp_path / "up.lock"
    assert holder(path) is None
    with RunLock(path):
        assert holder(path) == os.getpid()
        with pytest.raises(AlreadyUp, match=f"process {os.getpid()}"), RunLock(path):
            pass
    assert holder(path) is None


async def test_leftovers_are_ended_with_their_group_and_strangers_are_spared(tmp_path: Path) -> None:
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as leader:
        assert leader.stdout is not None
        grandchild = int(leader.stdout.readline())
        seen = mark(leader.pid)
        assert seen is not None
        assert await end_leftovers([ProcessMark(seen.pid, seen.started - 1)]) == 0
        assert mark(grandchild) is not None
        assert await end_leftovers([seen]) == 1
        until(lambda: mark(grandchild) is None, within=5)


def test_what_the_service_cannot_read_is_named(tmp_path: Path) -> None:
    stranger = Account(4_000_000, 4_000_000)
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "file").touch()
    with pytest.raises(Unreachable, match=r"uid 4000000\) cannot enter .*chmod o\+x"):
        refuse_unreachable(stranger, [tmp_path / "closed" / "file"], own_uid=0)
    refuse_unreachable(stranger, [Path("/usr/bin/env")], own_uid=0)
    refuse_unreachable(Account.current(), [tmp_path / "closed" / "file"], own_uid=os.getuid())


def test_without_root_isolation_must_be_given_up_by_name() -> None:
    with pytest.raises(WrongSetting, match="WPCLONE_LOCAL_ISOLATION=none"):
        isolated({}, root=False)
    assert isolated({"WPCLONE_LOCAL_ISOLATION": "none"}, root=False) is False
    assert isolated({}, root=True) is True
    with pytest.raises(WrongSetting):
        isolated({"WPCLONE_LOCAL_ISOLATION": "maybe"}, root=True)
