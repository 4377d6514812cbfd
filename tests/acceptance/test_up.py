"""`wpclone up`, `down` and `status`, with a clone living through them."""

import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pymysql
import pytest

from tests.support.hosting import HostingRun, adopt, new_clone_id, stage
from tests.support.installation import Installation, installation
from tests.support.places import free_port
from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor
from wpclone.standalone.installation import Accounts
from wpclone.standalone.leftovers import mark
from wpclone.standalone.ports import Ports, is_free
from wpclone.wordpress.wp_config import DatabaseLogin


def _uids_alive() -> set[int]:
    alive = set()
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = entry.read_text().splitlines()
        except OSError:
            continue
        if not any(line.startswith("State:\tZ") for line in lines):  # ended, and nobody's to wait for since its parent was killed
            alive |= {int(line.split()[1]) for line in lines if line.startswith("Uid:")}
    return alive


def _firewall(service: Installation) -> str:
    """The rules of this installation; empty without a table."""
    done = subprocess.run(
        ["nft", "list", "table", "inet", f"wpclone_{service.state.run}"], capture_output=True, text=True, check=False, timeout=20
    )
    return done.stdout


def _databases_and_users(service: Installation) -> list[str]:
    connection = pymysql.connect(
        unix_socket=str(service.state.mariadb / "mariadb.sock"), user="root", connect_timeout=5, read_timeout=10,
        password=(service.state.directory / "mariadb.password").read_text().strip(),
    )  # fmt: skip
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM information_schema.schemata UNION SELECT user FROM mysql.global_priv")
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def _answers(url: str) -> bool:
    try:
        return Visitor().get(url).status == 200
    except OSError:
        return False


@pytest.mark.timeout(240)
def test_a_clone_answers_again_after_down_and_up_and_a_delete_leaves_nothing(service: Installation, source: SourceSite) -> None:
    job = service.clone(source.url, source.site.admin, source.site.password)
    clone_id, url = job["result"]["clone_id"], job["result"]["clone_url"]
    assert _answers(url)
    assert url in service.wpclone("status")

    service.down()
    ports = Ports.kept(service.state.ports, service.state.run, is_free)
    assert [port for port in (ports.edge, ports.clones, ports.grpc, ports.mariadb, ports.nats) if not is_free(port)] == []
    assert _uids_alive().isdisjoint(service.state.clone_uids)
    assert _firewall(service) == ""

    service.up()
    until(lambda: _answers(url), within=30)

    service.wpclone("clone", "delete", clone_id, "--watch")
    assert not _answers(url)
    assert clone_id not in service.wpclone("status")
    assert _uids_alive().isdisjoint(service.state.clone_uids)
    database = clone_id.replace("clone-", "wpc_")
    assert database not in _databases_and_users(service)
    assert list((service.state.clones / "sites").iterdir()) == []
    assert "tcp dport" not in _firewall(service)
    assert list((service.state.service / "work").iterdir()) == []


def test_a_dead_part_comes_back_and_the_log_says_so(service: Installation) -> None:
    before = service.part("nats-server")
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: service.part("nats-server")["pid"] not in {None, before["pid"]}, within=30)
    assert service.part("nats-server")["restarts"] == before["restarts"] + 1
    assert "nats-server was killed by signal 9; starting it again" in service.said()


@pytest.mark.root
def test_server_and_worker_run_under_the_service_account(service: Installation) -> None:
    for name in ("server", "worker"):
        status = Path(f"/proc/{service.part(name)['pid']}/status").read_text()
        assert f"Uid:\t{Accounts.choose({}, root=True).service.uid}\t" in status
        assert "Groups:\t \n" in status


def test_a_second_up_of_the_same_installation_is_refused(service: Installation) -> None:
    again = service.run("up")
    assert again.returncode == 12
    assert "is up already (process " in again.stderr


def test_a_taken_port_is_named() -> None:
    with installation() as made:
        made.state.make()
        taken = free_port()
        ports = Ports.kept(made.state.ports, made.state.run, is_free)
        made.state.ports.write_text(made.state.ports.read_text().replace(str(ports.nats), str(taken)))
        listener = subprocess.Popen(
            ["python3", "-c", f"import socket; s = socket.create_server(('127.0.0.1', {taken})); print(flush=True); s.accept()"],
            stdout=subprocess.PIPE,
        )
        try:
            assert listener.stdout is not None
            listener.stdout.readline()
            refused = made.run("up")
        finally:
            listener.kill()
            listener.communicate()
    assert refused.returncode == 12
    assert f"another program listens on 127.0.0.1 port {taken} (nats)" in refused.stderr


def test_status_and_down_of_what_is_not_up() -> None:
    with installation() as made:
        assert made.run("status").returncode == 6
        assert made.run("down").returncode == 0


def _is_over_or_has_new(made: Installation, part: str, pid: int) -> bool:
    assert made.process is not None
    return made.process.poll() is not None or made.part(part)["pid"] not in {None, pid}


@pytest.mark.timeout(240)
def test_a_second_death_within_a_minute_ends_everything() -> None:
    with installation() as made:
        made.up()
        assert made.process is not None
        for _ in range(2):
            pid = until(lambda: made.part("envoy")["pid"], within=20)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: _is_over_or_has_new(made, "envoy", pid), within=60)  # type: ignore[misc]
        assert made.process.wait(60) == 1
        assert "envoy was killed by signal 9, the second time within 60 s" in made.said()
        assert made.run("status").returncode == 6


@pytest.mark.timeout(240)
def test_what_a_killed_up_left_is_ended_by_the_next(service: Installation) -> None:
    with installation() as made:
        made.up()
        assert made.process is not None
        left = [part["pid"] for part in (made.part("mariadb"), made.part("worker"))]
        made.process.kill()
        made.process.wait()
        made.up()
        assert [pid for pid in left if pid in {made.part("mariadb")["pid"], made.part("worker")["pid"]}] == []
        assert "ended" in made.said()
        made.down()


@pytest.mark.root
@pytest.mark.timeout(240)
def test_down_ends_what_a_killed_up_left_and_status_says_so() -> None:
    with installation() as made:
        made.up()
        assert made.process is not None
        _serve_a_page(made)
        left = [part["pid"] for part in (made.part("mariadb"), made.part("worker"))]
        made.process.kill()
        made.process.wait()
        status = made.run("status")
        assert (status.returncode, "was killed and left 5 programs" in status.stdout) == (6, True)
        assert not _uids_alive().isdisjoint(made.state.clone_uids)
        assert "ended what an earlier run left" in made.run("down").stderr
        assert [pid for pid in left if mark(pid)] == []
        assert _uids_alive().isdisjoint(made.state.clone_uids)
        assert _firewall(made) == ""
        assert "nothing runs" in made.run("down").stderr


def _serve_a_page(made: Installation) -> None:
    """Have the keeper host a clone, of one page and no database."""
    keeper = HostingRun(SimpleNamespace(socket=made.state.keeper_socket), None, None)  # type: ignore[arg-type]
    site = keeper.ask("create", clone_id=new_clone_id())
    stage(site, {"index.php": "<?php echo 'here';"})
    adopt(keeper, site, DatabaseLogin("127.0.0.1", 1, "none", "none", "none"))
    keeper.ask("serve", clone_id=site["clone_id"])
