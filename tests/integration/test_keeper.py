import errno
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosting import (
    HostedSite,
    HostingRun,
    KeeperRefused,
    adopt,
    clone_database,
    fetch,
    hosted_site,
    new_clone_id,
    running_keeper,
    stage,
)
from tests.support.places import free_port, open_directory
from tests.support.servers import SERVICE, Loop, Mariadb
from tests.support.wait import until
from wpclone.standalone import envoy, site_files
from wpclone.standalone.keeper import CannotKeep, Keeper
from wpclone.wordpress.wp_config import DatabaseLogin

INDEX = {"index.php": "<?php echo 'site of ', __DIR__;"}
NO_DATABASE = DatabaseLogin("127.0.0.1", 1, "none", "none", "none")


@pytest.fixture(scope="module")
def run(mariadb_server: Mariadb) -> Iterator[HostingRun]:
    with running_keeper(mariadb_server.place.port) as running:
        yield running


@pytest.fixture
def site(run: HostingRun, mariadb_server: Mariadb) -> Iterator[HostedSite]:
    with hosted_site(run, mariadb_server, INDEX) as hosted:
        yield hosted


def status(site: HostedSite) -> int:
    return fetch(site.site["port"], site.site["host"]).status


def processes_of(uid: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid and (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def nft_table(run: HostingRun) -> str:
    name = f"wpclone_{run.place.hosting.run.replace('-', '_')}"
    return subprocess.run(["nft", "list", "table", "inet", name], capture_output=True, text=True, check=False).stdout


def test_every_verb_may_be_asked_again(run: HostingRun) -> None:
    clone_id = new_clone_id()
    first = run.ask("create", clone_id=clone_id)
    assert run.ask("create", clone_id=clone_id) == first
    stage(first, INDEX)
    adopted = adopt(run, first, NO_DATABASE)
    assert adopt(run, first, NO_DATABASE)["state"] == adopted["state"] == "adopted"
    assert run.ask("create", clone_id=clone_id)["state"] == "adopted"
    assert not Path(first["staging"]).exists()
    served = run.ask("serve", clone_id=clone_id)
    again = run.ask("serve", clone_id=clone_id)
    assert again["web_server"]["pid"] == served["web_server"]["pid"]
    assert again["web_server"]["http_status"] == 200
    assert run.ask("describe", clone_id=clone_id)["state"] == "serving"
    for _ in range(2):
        assert run.ask("delete", clone_id=clone_id) == {"clone_id": clone_id}
    with pytest.raises(KeeperRefused, match="NOT_FOUND"):
        run.ask("describe", clone_id=clone_id)


def test_clones_differ_in_port_and_directory_and_are_listed(run: HostingRun, site: HostedSite, mariadb_server: Mariadb) -> None:
    with hosted_site(run, mariadb_server, INDEX) as other:
        listed = {entry["clone_id"]: entry for entry in run.ask("list")["clones"]}
        assert set(listed) >= {site.clone_id, other.clone_id}
        assert site.site["port"] != other.site["port"]
        assert site.clone_id in site.get("/").body
        assert other.clone_id in other.get("/").body


@pytest.mark.parametrize(
    ("verb", "args", "reason"),
    [
        ("create", {"clone_id": "clone-../../etc"}, "INVALID_CLONE_ID"),
        ("create", {"clone_id": "clone-0123456789ab\n"}, "INVALID_CLONE_ID"),
        ("create", {}, "BAD_REQUEST"),
        ("create", {"clone_id": 5}, "BAD_REQUEST"),
        ("serve", {"clone_id": "clone-000000000000"}, "NOT_FOUND"),
        ("extend", {"clone_id": "clone-000000000000", "expires_at": "2030-01-01T00:00:00Z"}, "NOT_FOUND"),
        ("extend", {"clone_id": "clone-000000000000", "expires_at": "tomorrow"}, "BAD_REQUEST"),
        ("adopt", {"clone_id": "clone-000000000000", "wp_config": "", "guard": {}}, "BAD_REQUEST"),
        ("adopt", {"clone_id": "clone-000000000000", "wp_config": "!!", "guard": {}}, "BAD_REQUEST"),
        ("shutdown", {}, "UNKNOWN_VERB"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_reason(run: HostingRun, verb: str, args: dict[str, Any], reason: str) -> None:
    with pytest.raises(KeeperRefused) as refused:
        run.ask(verb, **args)
    assert refused.value.reason == reason


def test_serving_and_extending_need_an_adopted_site(run: HostingRun) -> None:
    clone_id = new_clone_id()
    run.ask("create", clone_id=clone_id)
    for verb, more in (("serve", {}), ("extend", {"expires_at": "2030-01-01T00:00:00Z"})):
        with pytest.raises(KeeperRefused, match="NOT_ADOPTED"):
            run.ask(verb, clone_id=clone_id, **more)
    run.ask("delete", clone_id=clone_id)


def test_several_requests_on_one_connection_are_answered_by_their_ids(run: HostingRun) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(run.place.socket))
        lines = [json.dumps({"id": f"n{n}", "verb": "list"}) for n in range(5)]
        peer.sendall(("\n".join([*lines, "not json", "[]"]) + "\n").encode())
        peer.shutdown(socket.SHUT_WR)
        with peer.makefile("rb") as answers:
            seen = [json.loads(line) for line in answers]
    assert {answer["id"] for answer in seen if answer["ok"]} == {f"n{n}" for n in range(5)}
    assert [answer["error"]["reason"] for answer in seen if not answer["ok"]] == ["BAD_REQUEST", "BAD_REQUEST"]


def test_extending_moves_the_end_the_guard_knows(run: HostingRun, site: HostedSite) -> None:
    assert run.ask("extend", clone_id=site.clone_id, expires_at="2031-02-03T04:05:06Z")["expires_at"] == "2031-02-03T04:05:06Z"
    assert site.php("echo wpclone_guard_config()['expires_at'];") == "2031-02-03T04:05:06Z"


def test_a_killed_web_server_comes_back_and_no_other_is_touched(
    run: HostingRun, site: HostedSite, mariadb_server: Mariadb
) -> None:
    with hosted_site(run, mariadb_server, INDEX) as other:
        pid = site.site["web_server"]["pid"]
        os.kill(pid, signal.SIGKILL)
        server = until(lambda: came_back(run, site, pid), within=20)
        assert server
        assert server["restarts"] == 1
        assert site.get("/").status == 200
        assert run.ask("describe", clone_id=other.clone_id)["web_server"]["pid"] == other.site["web_server"]["pid"]


def came_back(run: HostingRun, site: HostedSite, before: int) -> dict[str, Any] | None:
    server: dict[str, Any] = run.ask("describe", clone_id=site.clone_id)["web_server"]
    return server if server["state"] == "running" and server["pid"] != before else None


def test_after_a_stop_and_a_start_live_clones_answer_again(run: HostingRun, site: HostedSite) -> None:
    run.stop()
    with pytest.raises(ConnectionRefusedError):
        status(site)
    assert not run.place.socket.exists()
    run.start()
    until(lambda: run.ask("describe", clone_id=site.clone_id)["web_server"]["state"] == "running", within=30)
    assert site.get("/").status == 200


def test_a_port_that_was_taken_meanwhile_is_replaced(run: HostingRun, site: HostedSite) -> None:
    run.stop()
    with socket.create_server(("127.0.0.1", site.site["port"])):
        run.start()
        again = run.ask("serve", clone_id=site.clone_id)
    assert again["port"] != site.site["port"]
    assert again["web_server"]["http_status"] == 200


def test_a_broken_web_server_is_told_with_its_log_and_shown_until_it_is_gone(run: HostingRun, site: HostedSite) -> None:
    configuration = Path(site.site["docroot"]).parent / "web" / "apache.conf"
    assert configuration.exists()
    clone_id = new_clone_id()
    made = run.ask("create", clone_id=clone_id)
    stage(made, INDEX)
    adopt(run, made, NO_DATABASE)
    # Something in the way of Apache's own files.
    web = configuration.parents[2] / clone_id / "web"
    (web / "run").write_text("in the way")
    with pytest.raises(KeeperRefused) as refused:
        run.ask("serve", clone_id=clone_id)
    assert refused.value.reason in {"INTERNAL", "WEB_SERVER_FAILED"}
    run.ask("delete", clone_id=clone_id)
    assert not web.exists()


def test_a_copy_interrupted_between_any_two_moments_can_be_adopted_or_deleted(run: HostingRun) -> None:
    clone_id = new_clone_id()
    made = run.ask("create", clone_id=clone_id)
    stage(made, {**INDEX, "a/b/c.php": "<?php", "tool": "#!/bin/sh\n"})
    (Path(made["staging"]) / "tool").chmod(0o6777)
    (Path(made["staging"]) / "link").symlink_to("a/b/c.php")
    run.stop()
    run.start()
    site = adopt(run, made, NO_DATABASE)
    docroot = Path(site["docroot"])
    assert (docroot / "tool").stat().st_mode & 0o7777 == 0o750
    assert (docroot / "a/b/c.php").stat().st_mode & 0o7777 == 0o640
    assert (docroot / "a").stat().st_mode & 0o7777 == 0o750
    assert (docroot / "wp-config.php").stat().st_mode & 0o7777 == 0o400
    assert os.readlink(docroot / "link") == "a/b/c.php"
    for path in [docroot, *docroot.rglob("*")]:
        assert path.lstat().st_uid == site["uid"], path
    run.ask("delete", clone_id=clone_id)
    assert not docroot.parent.exists()


def test_wp_config_is_written_where_it_is_asked_for_and_never_through_a_link(run: HostingRun) -> None:
    with open_directory("outside") as outside:
        os.chown(outside, SERVICE.uid, SERVICE.gid)
        clone_id = new_clone_id()
        made = run.ask("create", clone_id=clone_id)
        stage(made, {"wp/index.php": "<?php"})
        (Path(made["staging"]) / "out").symlink_to(outside)
        (Path(made["staging"]) / "wp" / "wp-config.php").symlink_to(outside / "wp-config.php")
        adopt(run, made, NO_DATABASE)
        for path, accepted in (
            ("wp/wp-config.php", True),
            ("out/wp-config.php", False),
            ("../wp-config.php", False),
            ("/x", False),
        ):
            with nullcontext() if accepted else pytest.raises(KeeperRefused, match="UNSAFE_FILE"):
                run.ask("adopt", clone_id=clone_id, wp_config="PD9waHA=", wp_config_path=path, guard=GUARD)
        assert list(outside.iterdir()) == []
        assert (Path(made["docroot"]) / "wp" / "wp-config.php").read_bytes() == b"<?php"
        run.ask("delete", clone_id=clone_id)


GUARD = {
    **dict.fromkeys(("guard.php", "mu-plugin.php", "capture-mail.sh", "robots.txt"), "eA=="),
    "config.json": "eyJleHBpcmVzX2F0IjogIjIwMzAtMDEtMDFUMDA6MDA6MDBaIn0=",
}


@pytest.mark.root
def test_a_file_of_somebody_else_is_never_given_away(run: HostingRun) -> None:
    clone_id = new_clone_id()
    made = run.ask("create", clone_id=clone_id)
    stage(made, INDEX)
    with open_directory("secret") as directory:
        secret = directory / "secret"
        secret.write_text("root's")
        os.link(secret, Path(made["staging"]) / "innocent.txt")
        with pytest.raises(KeeperRefused, match="UNSAFE_FILE"):
            adopt(run, made, NO_DATABASE)
        assert secret.stat().st_uid == 0
        (Path(made["staging"]) / "innocent.txt").unlink()
    os.mkfifo(Path(made["staging"]) / "pipe")
    with pytest.raises(KeeperRefused, match="UNSAFE_FILE"):
        adopt(run, made, NO_DATABASE)
    run.ask("delete", clone_id=clone_id)


def test_a_site_nested_thousands_deep_is_removed(run: HostingRun) -> None:
    made = run.ask("create", clone_id=new_clone_id())
    nest(Path(made["guard_state_dir"]), 3000)
    run.ask("delete", clone_id=made["clone_id"])
    assert not Path(made["guard_state_dir"]).parent.exists()


def test_a_site_that_cannot_be_removed_keeps_no_other_from_coming_back(
    run: HostingRun, site: HostedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = run.ask("create", clone_id=new_clone_id())["clone_id"]
    with monkeypatch.context() as patch:
        patch.setattr(site_files, "remove_tree", no_removal)
        with pytest.raises(KeeperRefused, match="INTERNAL"):
            run.ask("delete", clone_id=stuck)
        run.stop()
        run.start()
        assert run.ask("describe", clone_id=stuck)["state"] == "deleting"
        until(lambda: running_site(run, site.clone_id), within=30)
    run.ask("delete", clone_id=stuck)
    assert stuck not in {one["clone_id"] for one in run.ask("list")["clones"]}


def no_removal(path: Path) -> None:
    raise OSError(errno.EBUSY, "busy", str(path))


def nest(directory: Path, depth: int) -> None:
    """A chain of directories longer than any path may be."""
    here = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.mark.root
def test_only_the_service_may_speak_to_the_keeper(run: HostingRun) -> None:
    assert run.place.socket.stat().st_mode & 0o777 == 0o600
    assert run.place.socket.stat().st_uid == SERVICE.uid
    talk = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        ' s.sendall(b\'{"id": 1, "verb": "list"}\\n\'); sys.stdout.write(s.recv(100000).decode())'
    )
    argv = ["/usr/bin/python3", "-c", talk, str(run.place.socket)]
    allowed = subprocess.run(argv, capture_output=True, text=True, user=SERVICE.uid, group=SERVICE.gid, timeout=30, check=False)
    assert '"ok": true' in allowed.stdout
    run.place.socket.chmod(0o666)
    try:
        refused = subprocess.run(argv, capture_output=True, text=True, user=64777, group=64777, timeout=30, check=False)
    finally:
        run.place.socket.chmod(0o600)
    assert '"ok"' not in refused.stdout


@pytest.mark.root
def test_a_second_run_on_the_same_uids_is_refused(run: HostingRun) -> None:
    second = Keeper(run.place)
    with pytest.raises(CannotKeep, match="another run"):
        run.loop.run(second.start())
    assert run.ask("list")["clones"] == []


@pytest.mark.root
def test_a_deleted_clone_leaves_no_process_file_or_firewall_rule(run: HostingRun, mariadb_server: Mariadb) -> None:
    with hosted_site(run, mariadb_server, INDEX) as site:
        uid = site.site["uid"]
        # A process that left the web server's group and session, as a hostile site would make one.
        stray = subprocess.Popen(["sleep", "600"], user=uid, group=uid, extra_groups=[], start_new_session=True)
        assert len(processes_of(uid)) >= 3
        assert f"skuid {uid}" in nft_table(run)
        root = Path(site.site["docroot"]).parent
    assert stray.wait(10) == -signal.SIGKILL
    assert not root.exists()
    assert processes_of(uid) == []
    assert f"skuid {uid} " not in nft_table(run)
    assert not list((run.place.hosting.state / "records").iterdir())


@pytest.mark.root
def test_a_killed_keeper_leaves_clones_to_the_next_one(mariadb_server: Mariadb) -> None:
    """The keeper runs in a process of its own here, so that it can be killed without a chance to clean up."""
    with running_keeper(mariadb_server.place.port) as run, clone_database(mariadb_server) as login:
        made = run.ask("create", clone_id=new_clone_id())
        stage(made, INDEX)
        adopt(run, made, login)
        run.stop()
        keeper = subprocess.Popen([sys.executable, "-c", KEEPER, repr(run.place)], cwd=Path(__file__).parents[2])
        try:
            until(run.place.socket.exists, within=20)
            served = run.ask("serve", clone_id=made["clone_id"])
        finally:
            keeper.kill()
            keeper.wait()
        orphan = served["web_server"]["pid"]
        assert Path(f"/proc/{orphan}").exists()
        run.start()
        again = until(lambda: running_site(run, made["clone_id"]), within=30)
        assert again
        assert again["web_server"]["pid"] != orphan
        assert again["port"] == served["port"]
        assert fetch(again["port"], again["host"]).status == 200


@pytest.mark.root
def test_a_keeper_killed_at_any_moment_of_any_verb_is_made_good_by_asking_again(mariadb_server: Mariadb) -> None:
    chance = random.Random(4)
    with running_keeper(mariadb_server.place.port) as run:
        run.stop()
        clone_id = new_clone_id()
        for round_ in range(8):
            keeper = subprocess.Popen([sys.executable, "-c", KEEPER, repr(run.place)], cwd=Path(__file__).parents[2])
            try:
                until(partial(reached, run, keeper), within=20)
                killer = threading.Timer(chance.random() * 0.25, keeper.kill)
                killer.start()
                with suppress(OSError, ValueError):
                    made = run.ask("create", clone_id=clone_id)
                    if made["state"] == "created":
                        stage(made, {**INDEX, **{f"d{n % 9}/f{n}": "x" for n in range(300)}})
                    adopt(run, made, NO_DATABASE)
                    run.ask("serve", clone_id=clone_id)
                    if round_ % 3 == 2:
                        run.ask("delete", clone_id=clone_id)
                killer.join()
            finally:
                keeper.kill()
                keeper.wait()
        run.start()
        made = run.ask("create", clone_id=clone_id)
        if made["state"] == "created":
            stage(made, INDEX)
        adopt(run, made, NO_DATABASE)
        assert run.ask("serve", clone_id=clone_id)["web_server"]["http_status"] == 200
        run.ask("delete", clone_id=clone_id)
        assert list((run.place.hosting.state / "sites").iterdir()) == []
        assert list((run.place.hosting.state / "records").iterdir()) == []
        assert processes_of(made["uid"]) == []


def reached(run: HostingRun, keeper: "subprocess.Popen[bytes]") -> bool:
    """Whether this keeper, not one before it, listens."""
    assert keeper.poll() is None
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(run.place.socket)) == 0


def running_site(run: HostingRun, clone_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = run.ask("describe", clone_id=clone_id)
    return found if found["web_server"]["state"] == "running" else None


KEEPER = """
import asyncio, sys
from pathlib import Path, PosixPath
from wpclone.standalone.child import Account
from wpclone.standalone.clone_hosting import HostingPlace
from wpclone.standalone.keeper import Keeper, KeeperPlace
async def main():
    await Keeper(eval(sys.argv[1])).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_without_isolation_the_same_verbs_work_and_say_that_egress_is_open(mariadb_server: Mariadb) -> None:
    with running_keeper(mariadb_server.place.port, isolated=False) as run, hosted_site(run, mariadb_server, INDEX) as site:
        assert site.site["egress"] == "filtered in WordPress only"
        assert site.get("/").status == 200
        assert site.site["uid"] == SERVICE.uid
        run.stop()
        run.start()
        until(lambda: running_site(run, site.clone_id), within=30)
        assert site.get("/").status == 200


ENVOY = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: ${ADMIN_PORT}}}}
node: {id: wpclone, cluster: wpclone}
dynamic_resources:
  cds_config: {path_config_source: {path: "${ROUTES_DIR}/clones_cds.yaml"}, resource_api_version: V3}
static_resources:
  listeners:
  - name: clones
    address: {socket_address: {address: 127.0.0.1, port_value: ${CLONES_PORT}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clones
          rds:
            route_config_name: clones
            config_source: {path_config_source: {path: "${ROUTES_DIR}/clones_rds.yaml"}, resource_api_version: V3}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


def test_envoy_leads_each_host_name_to_its_clone_as_soon_as_it_is_served(mariadb_server: Mariadb) -> None:
    edge = free_port()
    with running_keeper(mariadb_server.place.port, edge_port=edge) as run, open_directory("envoy") as directory:
        (directory / "envoy.yaml").write_text(ENVOY)
        place = envoy.EnvoyPlace(
            directory / "e", directory / "envoy.yaml", directory / "none.binpb", run.place.hosting.routes,
            api_port=free_port(), clones_port=edge, grpc_port=free_port(), admin_port=free_port(), account=SERVICE,
        )  # fmt: skip
        loop = Loop()
        child = loop.run(envoy.start(place))
        try:
            with hosted_site(run, mariadb_server, INDEX) as a, hosted_site(run, mariadb_server, INDEX) as b:
                for one in (a, b):
                    page = fetch(edge, one.site["host"])
                    assert page.status == 200
                    assert one.clone_id in page.body
                assert fetch(edge, "clone-ffffffffffff.localhost").status == 404
            until(lambda: fetch(edge, a.site["host"]).status == 404, within=10)
        finally:
            loop.run(child.stop())
            loop.close()
