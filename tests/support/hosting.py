"""A keeper of this run, spoken to over its socket as a worker would, and a real WordPress hosted by it."""

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.places import free_port, open_directory, taken_for_us
from tests.support.servers import SERVICE, Loop, Mariadb
from wpclone.standalone.clone_hosting import HostingPlace
from wpclone.standalone.keeper import Keeper, KeeperPlace
from wpclone.standalone.table_spaces import TableSpaces
from wpclone.wordpress.guard import GuardSettings, guard_config, guard_files
from wpclone.wordpress.wp_config import DatabaseLogin, WpConfig, generate_wp_config

KEY = bytes(range(32))
SALT = b"0123456789abcdef"
PASSWORD = "generated-pässword-1"
PROBE = "<?php eval(file_get_contents('php://input'));"
PROBE_IN_WORDPRESS = "<?php require __DIR__ . '/wp-load.php'; eval(file_get_contents('php://input'));"


class KeeperRefused(Exception):
    """The keeper's error answer."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


@dataclass
class HostingRun:
    """One keeper that can be stopped and started again on the same state."""

    place: KeeperPlace
    loop: Loop
    keeper: Keeper
    is_up: bool = True

    def ask(self, verb: str, **args: object) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(90)
            peer.connect(str(self.place.socket))
            peer.sendall(json.dumps({"id": 7, "verb": verb, "args": args}).encode() + b"\n")
            with peer.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        assert answer["id"] == 7
        if not answer["ok"]:
            raise KeeperRefused(**answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def stop(self) -> None:
        self.loop.run(self.keeper.stop())
        self.is_up = False

    def start(self) -> None:
        self.keeper = Keeper(self.place)
        self.loop.run(self.keeper.start())
        self.is_up = True


@contextmanager
def _range(what: str, first: int, ranges: int) -> Iterator[range]:
    """A hundred numbers that no other run of the tests on this machine has meanwhile."""
    while True:
        begins = first + secrets.randbelow(ranges) * 100
        bearer = taken_for_us(f"{what}-{begins}")
        if bearer is not None:
            with bearer:
                yield range(begins, begins + 100)
            return


@contextmanager
def running_keeper(
    database_port: int, *, isolated: bool | None = None, edge_port: int | None = None, spaces: TableSpaces | None = None
) -> Iterator[HostingRun]:
    loop = Loop()
    with (
        open_directory("keeper") as directory,
        _range("uids", 300_000, 5000) as uids,
        _range("clones", 22_000, 90) as ports,
    ):
        place = KeeperPlace(
            directory / "keeper.sock",
            HostingPlace(
                state=directory / "hosting", routes=directory / "routes", service=SERVICE, run=directory.name,
                edge_port=edge_port or free_port(), database_port=database_port,
                isolated=os.getuid() == 0 if isolated is None else isolated,
                uids=uids, ports=ports, wait_for_edge=edge_port is not None, spaces=spaces,
            ),
            locks=directory / "locks",
        )  # fmt: skip
        run = HostingRun(place, loop, Keeper(place))
        loop.run(run.keeper.start())
        try:
            yield run
        finally:
            if not run.is_up:  # a test failed between a stop and a start: its own error is the one to be seen
                run.start()
            for site in run.ask("list")["clones"]:
                run.ask("delete", clone_id=site["clone_id"])
            run.stop()
            loop.close()


@dataclass
class Page:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: str
    cookies: list[str] = field(default_factory=list)


def fetch(
    port: int,
    host: str,
    path: str = "/",
    *,
    method: str = "GET",
    body: str | bytes | None = None,
    headers: Mapping[str, str] = {},
) -> Page:
    """One request to a loopback port under a host name; no redirect is followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body.encode() if isinstance(body, str) else body, {"Host": host, **headers})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        cookies = [value.partition(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        return Page(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text, cookies)
    finally:
        connection.close()


@dataclass
class HostedSite:
    """One clone on a keeper: its site, its database login, and a way to run PHP inside it."""

    run: HostingRun
    site: dict[str, Any]
    database: DatabaseLogin

    @property
    def clone_id(self) -> str:
        clone_id: str = self.site["clone_id"]
        return clone_id

    def get(self, path: str = "/", **more: Any) -> Page:
        return fetch(self.site["port"], self.site["host"], path, **more)

    def php(self, code: str, *, in_wordpress: bool = False) -> str:
        page = self.get("/wp-probe.php" if in_wordpress else "/probe.php", method="POST", body=code)
        assert page.status == 200, page.body
        return page.body

    @property
    def state_dir(self) -> Path:
        return Path(self.site["guard_state_dir"])

    def adopt(self, *, config: Mapping[str, object] | None = None) -> None:
        """Adopt again, with some fields of the guard's configuration changed."""
        self.site = adopt(self.run, self.site, self.database, config=config)


def adopt(
    run: HostingRun,
    site: dict[str, Any],
    login: DatabaseLogin,
    *,
    config: Mapping[str, object] | None = None,
    allow: tuple[str, ...] = (),
) -> dict[str, Any]:
    settings = GuardSettings(
        clone_id=site["clone_id"], url=site["url"], expires_at=datetime.now(UTC) + timedelta(hours=1),
        admin_login="admin", password=PASSWORD,
        salt=SALT, key=KEY, state_dir=site["guard_state_dir"], allow_hosts=allow,
    )  # fmt: skip
    guard = {**guard_files(), "config.json": json.dumps({**json.loads(guard_config(settings)), **(config or {})}).encode()}
    wp_config, _ = generate_wp_config(WpConfig(login, "wp_", site["url"], site["url"], b"r" * 32))
    return run.ask(
        "adopt",
        clone_id=site["clone_id"],
        wp_config=base64.b64encode(wp_config).decode(),
        guard={name: base64.b64encode(content).decode() for name, content in guard.items()},
    )


def new_clone_id() -> str:
    return "clone-" + secrets.token_hex(6)


def stage(site: dict[str, Any], files: Mapping[str, str], tree: Path | None = None) -> None:
    """Copy files into a clone's staging directory as the service."""
    staging = Path(site["staging"])
    as_service: dict[str, Any] = {"user": SERVICE.uid, "group": SERVICE.gid, "extra_groups": []} if os.getuid() == 0 else {}
    if tree:
        subprocess.run(["cp", "-r", f"{tree}/.", str(staging)], check=True, **as_service)
    for name, text in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if as_service:
            for made in [path, *path.relative_to(staging).parents][:-1]:
                os.chown(staging / made, SERVICE.uid, SERVICE.gid)


@contextmanager
def clone_database(server: Mariadb) -> Iterator[DatabaseLogin]:
    """A database with a user that may reach nothing else, as each clone has."""
    with server.database() as name:
        user, password = "u" + name[1:], secrets.token_hex(12)
        server.execute(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{password}'")
        server.execute(f"GRANT ALL ON `{name}`.* TO '{user}'@'127.0.0.1'")
        try:
            yield DatabaseLogin("127.0.0.1", server.place.port, name, user, password)
        finally:
            server.execute(f"DROP USER '{user}'@'127.0.0.1'")


@contextmanager
def hosted_site(
    run: HostingRun, server: Mariadb, files: Mapping[str, str], tree: Path | None = None, allow: tuple[str, ...] = ()
) -> Iterator[HostedSite]:
    """A clone that serves `files` over `tree`."""
    with clone_database(server) as login:
        site = run.ask("create", clone_id=new_clone_id())
        stage(site, {"probe.php": PROBE, **files}, tree)
        adopt(run, site, login, allow=allow)
        yield HostedSite(run, run.ask("serve", clone_id=site["clone_id"]), login)
        run.ask("delete", clone_id=site["clone_id"])


def install_wordpress(site: HostedSite) -> None:
    """Run WordPress's own installer in the clone, with the login `admin`."""
    answer = site.get(
        "/wp-admin/install.php?step=2",
        method="POST",
        body=urlencode({
            "weblog_title": "A clone", "user_name": "admin", "admin_password": "from the source",
            "admin_password2": "from the source",
            "pw_weak": "1", "admin_email": "admin@example.com", "blog_public": "1", "language": "",
        }),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert answer.status == 200, answer.body
    assert "Success!" in answer.body, answer.body


def wordpress_tree(directory: Path) -> Path:
    """A whole WordPress, unpacked below `directory`."""
    script = Path(__file__).parents[2] / "deploy" / "local" / "fetch_wordpress"
    subprocess.run(["sh", str(script), str(directory)], check=True, timeout=300)
    themes = directory / "wordpress" / "wp-content" / "themes"
    if not any(themes.glob("*/style.css")):
        shutil.copytree("/usr/share/wordpress/wp-content/themes", themes, dirs_exist_ok=True)
    return directory / "wordpress"
