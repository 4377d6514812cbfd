"""What PHP inside a clone cannot do, with WordPress and the guard's filters out of the way."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosting import HostedSite, HostingRun, hosted_site, running_keeper
from tests.support.places import open_directory
from tests.support.servers import SERVICE, Mariadb, Nats

pytestmark = pytest.mark.root

INDEX = {"index.php": "<?php echo 'ok';"}


@pytest.fixture(scope="module")
def run(mariadb_server: Mariadb) -> Iterator[HostingRun]:
    with running_keeper(mariadb_server.place.port) as running:
        yield running


@pytest.fixture(scope="module")
def site(run: HostingRun, mariadb_server: Mariadb) -> Iterator[HostedSite]:
    with hosted_site(run, mariadb_server, INDEX) as hosted:
        yield hosted


@pytest.fixture(scope="module")
def other(run: HostingRun, mariadb_server: Mariadb) -> Iterator[HostedSite]:
    with hosted_site(run, mariadb_server, INDEX) as hosted:
        yield hosted


@pytest.fixture
def sink() -> Iterator[socket.socket]:
    """A loopback server that must never hear anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener
        with pytest.raises(TimeoutError):
            listener.accept()


def as_clone(site: HostedSite, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program as the clone's uid, outside PHP: what a site could do that broke out of open_basedir."""
    uid = site.site["uid"]
    return subprocess.run(
        argv, capture_output=True, text=True, user=uid, group=uid, extra_groups=[], timeout=30, check=False, cwd="/"
    )


def test_a_clone_cannot_read_another_clone(site: HostedSite, other: HostedSite) -> None:
    for path in (
        "docroot/wp-config.php",
        "docroot/index.php",
        "guard/config.json",
        "guard-state",
        "web/apache.conf",
        "web/apache.log",
    ):
        target = Path(other.site["docroot"]).parent / path
        assert target.exists()
        assert (
            site.php(f"var_dump(@file_get_contents({json.dumps(str(target))}), @scandir({json.dumps(str(target))}));")
            == "bool(false)\nbool(false)\n"
        )
        assert as_clone(site, "cat", str(target)).returncode != 0
        assert as_clone(site, "ls", str(target.parent / "x")).returncode != 0
    assert site.php("echo strlen(file_get_contents('wp-config.php')) > 100 ? 'own' : '';") == "own"


def test_a_clone_cannot_list_the_clones_or_read_records_the_key_ring_or_the_keepers_socket(
    site: HostedSite, run: HostingRun
) -> None:
    with open_directory("keys") as directory:
        ring = directory / "key-ring.json"
        ring.touch(mode=0o600)
        os.chown(ring, SERVICE.uid, SERVICE.gid)
        ring.write_text("the keys")
        assert as_clone(site, "cat", str(ring)).returncode != 0
        assert site.php(f"var_dump(@file_get_contents({json.dumps(str(ring))}));") == "bool(false)\n"
    hosting = run.place.hosting
    for path in (hosting.state / "sites", hosting.state / "records"):
        assert as_clone(site, "ls", str(path)).returncode != 0
    talk = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    assert "PermissionError" in as_clone(site, "/usr/bin/python3", "-c", talk, str(run.place.socket)).stderr


def test_a_clone_cannot_read_a_parents_environment(site: HostedSite) -> None:
    pid = site.site["web_server"]["pid"]
    parent = next(line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("PPid"))
    assert as_clone(site, "cat", f"/proc/{parent}/environ").returncode != 0
    assert set(json.loads(site.php("echo json_encode(array_keys(getenv()));"))) <= {
        "PATH",
        "LANG",
        "PWD",
        "SHLVL",
        "_",
        "PHP_INI_SCAN_DIR",
    }
    assert (
        json.loads(site.php("echo json_encode(array_filter(array_keys($_SERVER), fn($k) => stripos($k, 'WPCLONE') !== false));"))
        == []
    )


def test_a_clone_signs_in_to_mysql_as_itself_only(site: HostedSite, other: HostedSite, mariadb_server: Mariadb) -> None:
    login, theirs = site.database, other.database
    mysql = (
        "mysqli_report(MYSQLI_REPORT_OFF); $c = @mysqli_connect(%s, %s, %s, %s, " + str(login.port) + ", %s);"
        " echo $c ? 'in' : mysqli_connect_errno();"
    )

    def attempt(user: str, password: str, database: str, host: str = "127.0.0.1", unix: str = "") -> str:
        return site.php(mysql % tuple(json.dumps(text) for text in (host, user, password, database, unix)))

    assert attempt(login.user, login.password, login.name) == "in"
    assert attempt(login.user, login.password, theirs.name) == "1044"
    assert attempt(theirs.user, "", theirs.name) == "1045"
    for user in ("root", "wpclone", "mysql", "mariadb.sys", ""):
        assert attempt(user, "", "mysql") in {"1045", "4151"}, user
        assert attempt(user, "", "mysql", "localhost", str(mariadb_server.place.socket)) not in {"in"}, user


def test_curl_sockets_and_streams_reach_nothing_but_database_and_own_address(
    site: HostedSite, sink: socket.socket, nats_server: Nats
) -> None:
    port = sink.getsockname()[1]
    for target in (port, nats_server.place.port):
        answers = site.php(
            f"$c = curl_init('http://127.0.0.1:{target}/');"
            f"curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => 1, CURLOPT_TIMEOUT => 5]);"
            f"echo json_encode(array(curl_exec($c), @fsockopen('127.0.0.1', {target}, $n, $e, 5),"
            f"@fsockopen('::1', {target}, $n, $e, 5),"
            f"@stream_socket_client('tcp://127.0.0.1:{target}', $n, $e, 5), @file_get_contents('http://localhost:{target}/')));"
        )
        assert json.loads(answers) == [False, False, False, False, False]


def test_no_name_is_resolved_and_no_datagram_leaves(site: HostedSite) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        site.php(f"$s = socket_create(AF_INET, SOCK_DGRAM, SOL_UDP); @socket_sendto($s, 'out', 3, 0, '127.0.0.1', {port});")
        with pytest.raises(TimeoutError):
            listener.recv(10)
    assert site.php("echo gethostbyname('example.com');") == "example.com"


def test_outside_php_the_firewall_holds_too(site: HostedSite, sink: socket.socket) -> None:
    port = sink.getsockname()[1]
    dial = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    for host in ("127.0.0.1", "192.0.2.1"):
        failed = as_clone(site, "/usr/bin/python3", "-c", dial, host, str(port))
        assert failed.returncode != 0
    # Its own Apache's port opens no way out as a source port either.
    bound = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
        " s.bind(('127.0.0.2', int(sys.argv[1]))); s.connect(('127.0.0.1', int(sys.argv[2])))"
    )
    assert as_clone(site, "/usr/bin/python3", "-c", bound, str(site.site["port"]), str(port)).returncode != 0


def test_a_clone_cannot_answer_on_another_clones_port(site: HostedSite, other: HostedSite, run: HostingRun) -> None:
    run.loop.run(run.keeper.hosting._servers.stop(other.clone_id))
    port = other.site["port"]
    listen = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print('listening', flush=True);"
        " s.settimeout(2); s.accept()"
    )
    uid = site.site["uid"]
    squatter = subprocess.Popen(
        ["/usr/bin/python3", "-c", listen, str(port)],
        user=uid,
        group=uid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == b"listening\n"
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            socket.create_connection(("127.0.0.1", port), 1)
    finally:
        squatter.kill()
        squatter.communicate()
        run.ask("serve", clone_id=other.clone_id)


def test_programs_and_foreign_functions_are_off(site: HostedSite) -> None:
    for name in ("exec", "shell_exec", "system", "passthru", "popen", "proc_open", "pcntl_fork"):
        assert site.php(f"var_dump(function_exists('{name}'));") == "bool(false)\n"
    assert "disabled" in site.php("try { FFI::cdef('int getuid();'); } catch (Throwable $e) { echo 'disabled'; }")
    assert (
        site.php("echo ini_get('memory_limit'), ' ', ini_get('upload_max_filesize'), ' ', ini_get('user_ini.filename');")
        == "256M 128M "
    )


def test_no_setuid_program_raises_a_clones_rights(site: HostedSite) -> None:
    pid = site.site["web_server"]["pid"]
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0
    assert set(fields["Uid"].split()) == {str(site.site["uid"])}
    assert fields["Groups"].strip() == ""
