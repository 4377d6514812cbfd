"""Whatever is wrong with what one asks for: one clear error with its reason and what to do, and nothing stays anywhere."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.clone_content import agent_url, rows_arrived, running_step, same_as_source
from tests.support.clone_traces import no_clone_left, nothing_left, sql
from tests.support.installation import Installation, installation
from tests.support.places import free_port
from tests.support.slow_source import slow
from tests.support.source_site import SourceSite
from tests.support.wait import until
from wpclone.cli.exits import Exit
from wpclone.client.client import connect
from wpclone.client.errors import ClientError, from_rpc_error
from wpclone.v2.clone_service_pb2 import ListClonesRequest, ListJobsRequest
from wpclone.v2.clone_service_pb2_grpc import CloneServiceStub
from wpclone.wordpress.errors import SENTENCES, Reason

PLUGINS = ["akismet", "index.php", "noisy"]


@contextmanager
def _with(source: SourceSite, path: str, content: str) -> Iterator[None]:
    """A further file of the source, gone afterwards."""
    file = source.put(path, content.encode())
    try:
        yield
    finally:
        file.unlink()


def _create(
    service: Installation, url: str, username: str, password: str, *more: str
) -> "subprocess.CompletedProcess[str]":  # fmt: skip
    return service.run(
        "clone", "create", "--source", url, "--username", username, "-o", "json", *more, WPCLONE_SOURCE_PASSWORD=password
    )


def _fails(service: Installation, reason: str, url: str, username: str, password: str) -> str:
    """Clone, which must fail for this reason and leave nothing; the sentence."""
    done = _create(service, url, username, password)
    assert done.returncode == Exit.JOB_FAILED, f"{done.returncode}\n{done.stdout}\n{done.stderr}\n{service.said()}"
    job: dict[str, Any] = json.loads(done.stdout)
    sentence = str(job["error"])
    assert (job["status"], job["error_detail"]["reason"]) == ("failed", reason), (sentence, done.stderr)
    assert job.get("result") is None
    assert job.get("needs_attention", False) is False
    assert done.stderr.count(f"wpclone: {job['job_id']} failed: {sentence}\n") == 1
    assert f"reason {reason}" in done.stderr
    if password:
        assert password not in done.stdout + done.stderr
    assert service.json("clone", "get", job["clone_id"])["status"] == "failed"
    nothing_left(service, job["job_id"])
    return sentence


def _fails_at(service: Installation, source: SourceSite, reason: Reason, **changed: str) -> None:
    """The same at the sample source: its own sentence, and nothing of ours stays there either."""
    login = {"url": source.url, "username": source.site.admin, "password": source.site.password, **changed}
    assert _fails(service, reason.value, **login) == SENTENCES[reason].sentence
    assert sorted(path.name for path in (source.docroot / "wp-content/plugins").iterdir()) == PLUGINS
    assert source.sql("SELECT user_id FROM wp_usermeta WHERE meta_key = 'session_tokens'") == []


def test_a_source_that_does_not_answer(service: Installation) -> None:
    url = f"http://source.localhost:{free_port()}"
    assert _fails(service, "SOURCE_UNREACHABLE", url, "admin", "secret-word") == SENTENCES[Reason.SOURCE_UNREACHABLE].sentence


def test_a_wrong_password(service: Installation, source: SourceSite) -> None:
    _fails_at(service, source, Reason.LOGIN_REFUSED, password="not-the-password")


_WALLS = {
    Reason.LOGIN_TWO_FACTOR: """add_action('wp_login', function ($login, $user) {
        WP_Session_Tokens::get_instance($user->ID)->destroy_all();
        wp_clear_auth_cookie();
        echo '<form name="validate_2fa_form" id="loginform" action="wp-login.php?action=validate_2fa" method="post">'
            . '<input type="text" name="authcode" id="authcode"><input type="submit"></form>';
        exit;
    }, 10, 2);""",
    Reason.LOGIN_HIDDEN: "add_action('login_init', function () { wp_safe_redirect(home_url('/404/')); exit; });",
}


@pytest.mark.parametrize("reason", _WALLS)
def test_a_wall_before_wp_admin(service: Installation, source: SourceSite, reason: Reason) -> None:
    with _with(source, "wp-content/mu-plugins/wall.php", "<?php\n" + _WALLS[reason]):
        _fails_at(service, source, reason)


def test_a_place_without_wordpress(service: Installation, source: SourceSite) -> None:
    with _with(source, "static/index.html", "<html><body>Hello</body></html>"):
        _fails_at(service, source, Reason.NOT_WORDPRESS, url=source.url + "/static/")
    (source.docroot / "static").rmdir()


def test_a_multisite_network(service: Installation, source: SourceSite) -> None:
    config = source.docroot / "wp-config.php"
    before = config.read_bytes()
    host = source.url.removeprefix("http://")
    network = f"""define('MULTISITE', true);
define('SUBDOMAIN_INSTALL', false);
define('DOMAIN_CURRENT_SITE', '{host}');
define('PATH_CURRENT_SITE', '/');
define('SITE_ID_CURRENT_SITE', 1);
define('BLOG_ID_CURRENT_SITE', 1);
$table_prefix""".encode()
    made = ("wp_blogs", "wp_blogmeta", "wp_site", "wp_sitemeta", "wp_registration_log", "wp_signups")
    try:
        source.sql("CREATE TABLE wp_site (id bigint PRIMARY KEY AUTO_INCREMENT, domain varchar(200), path varchar(100))")
        source.sql("INSERT INTO wp_site VALUES (1, %s, '/')", host)
        source.sql(
            "CREATE TABLE wp_blogs (blog_id bigint PRIMARY KEY AUTO_INCREMENT, site_id bigint, domain varchar(200),"
            " path varchar(100), registered datetime, last_updated datetime, public tinyint DEFAULT 1,"
            " archived tinyint DEFAULT 0, mature tinyint DEFAULT 0, spam tinyint DEFAULT 0, deleted tinyint DEFAULT 0,"
            " lang_id int DEFAULT 0)"
        )
        source.sql("INSERT INTO wp_blogs (blog_id, site_id, domain, path) VALUES (1, 1, %s, '/')", host)
        source.sql(
            "CREATE TABLE wp_sitemeta (meta_id bigint PRIMARY KEY AUTO_INCREMENT, site_id bigint, meta_key varchar(255),"
            " meta_value longtext)"
        )
        source.sql(
            "INSERT INTO wp_sitemeta (site_id, meta_key, meta_value) VALUES (1, 'site_admins', 'a:1:{i:0;s:5:\"admin\";}')"
        )
        source.sql(
            "CREATE TABLE wp_blogmeta (meta_id bigint PRIMARY KEY, blog_id bigint, meta_key varchar(255), meta_value longtext)"
        )
        source.put("wp-config.php", before.replace(b"$table_prefix", network, 1))
        _fails_at(service, source, Reason.MULTISITE_UNSUPPORTED)
    finally:
        source.put("wp-config.php", before)
        for table in made:
            source.sql(f"DROP TABLE IF EXISTS {table}")


# What the service refuses before there is a job

_OTHERS = "clone-0123456789ab"
_CLONE = ("clone", "create", "--username", "admin", "--no-watch", "--source")
_REFUSED = {
    "ttl too long": ((*_CLONE, "http://source.localhost", "--ttl", "1441"), Exit.USAGE, ("ttl", "must be from 5 to 1440")),
    "ttl too short": ((*_CLONE, "http://source.localhost", "--ttl", "4"), Exit.USAGE, ("ttl", "must be from 5 to 1440")),
    "no url": ((*_CLONE, "source"), Exit.USAGE, ("source", "must start with http:// or https://")),
    "malformed url": ((*_CLONE, "http://[::1"), Exit.USAGE, ("source", "must be a well-formed http or https URL")),
    "unknown job": (("job", "get", _OTHERS), Exit.NOT_FOUND, ("JOB_NOT_FOUND",)),
    "unknown job awaited": (("job", "watch", _OTHERS), Exit.NOT_FOUND, ("JOB_NOT_FOUND",)),
    "unknown job cancelled": (("job", "cancel", _OTHERS), Exit.NOT_FOUND, ("JOB_NOT_FOUND",)),
    "unknown clone": (("clone", "delete", _OTHERS), Exit.NOT_FOUND, ("CLONE_NOT_FOUND",)),
    "no clone id": (("clone", "get", "everything"), Exit.USAGE, ("clone_id",)),
}


@pytest.mark.parametrize("case", _REFUSED)
def test_what_is_refused_at_once(service: Installation, case: str) -> None:
    words, code, told = _REFUSED[case]
    jobs = _jobs(service)
    done = service.run(*words, WPCLONE_SOURCE_PASSWORD="hunter2")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("wpclone: ")
    for text in told:
        assert text in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
    assert _jobs(service) == jobs


_PRIVATE = ("http://127.0.0.1:@@", "http://localhost:@@", "http://10.1.2.3", "http://169.254.169.254/latest", "http://[::1]:@@")
"""@@ stands for the port where the sample source really answers."""


@pytest.fixture(scope="module")
def strict(source: SourceSite) -> Iterator[Installation]:
    """An installation as it is by default, but for the one host it may talk to; its clones' disk, a tmpfs, holds 48 MB."""
    with installation(WPCLONE_ALLOW_SOURCE_HOSTS=source.url.removeprefix("http://")) as made:
        made.state.clones.mkdir(parents=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "tmpfs", str(made.state.clones)], check=True, timeout=20
        )
        try:
            made.up()
            yield made
            no_clone_left(made)
            made.down()
        finally:
            made.end()
            subprocess.run(["umount", str(made.state.clones)], check=True, timeout=20)


@pytest.mark.root
def test_private_addresses(strict: Installation, source: SourceSite) -> None:
    port = source.url.rpartition(":")[2]
    for url in _PRIVATE:
        sentence = _fails(strict, "ADDRESS_NOT_ALLOWED", url.replace("@@", port), source.site.admin, source.site.password)
        assert sentence == SENTENCES[Reason.ADDRESS_NOT_ALLOWED].sentence


@pytest.mark.root
def test_not_enough_disk(strict: Installation, source: SourceSite) -> None:
    sentence = _fails(strict, "TOO_LITTLE_SPACE", source.url, source.site.admin, source.site.password)
    assert re.fullmatch(r"The copy needs \d+ MB of disk and \d+ MB are free; free some, or clone a smaller site\.", sentence), (
        sentence
    )
    assert sorted(path.name for path in (source.docroot / "wp-content/plugins").iterdir()) == PLUGINS


@pytest.mark.timeout(180)
def test_mariadb_lost_in_the_middle_only_delays_the_job(service: Installation, source: SourceSite) -> None:
    before = service.part("mariadb")
    with slow(source, 0.5) as pace:
        done = _create(service, source.url, source.site.admin, source.site.password, "--no-watch")
        clone_id = json.loads(done.stdout)["job_id"]
        until(lambda: running_step(service, clone_id) == "copy_tables" and rows_arrived(service, clone_id) > 0, within=90)
        pace.hold(agent_url(service, clone_id))
        os.kill(before["pid"], signal.SIGKILL)
    until(lambda: service.part("mariadb")["pid"] not in {None, before["pid"]}, within=60)
    done = service.run("job", "wait", clone_id, "-o", "json")
    assert done.returncode == Exit.OK, done.stderr + service.said()
    job = json.loads(done.stdout)
    assert {step["name"]: step["attempts"] for step in job["steps"]}["copy_tables"] == 1, service.said()
    assert sql(service, "SELECT lapses, attempt FROM jobs WHERE job_id = %s", clone_id, database="wpclone") == [(0, 0)]
    same_as_source(service, source, job)
    service.wpclone("clone", "delete", clone_id, "--watch")
    nothing_left(service, clone_id)


def _jobs(service: Installation) -> int:
    return int(sql(service, "SELECT COUNT(*) FROM jobs", database="wpclone")[0][0])


def _as(service: Installation, token: str) -> Installation:
    """The same service, asked by whoever has this token."""
    settings = {"WPCLONE_SERVER": service.client["server"], "WPCLONE_TOKEN": token, "WPCLONE_STATE_DIR": "/nowhere"}
    return replace(service, settings=service.settings | settings)


def test_no_token_and_a_wrong_token(service: Installation) -> None:
    for token in ("", "wpc_wrong"):
        stranger = _as(service, token)
        done = stranger.run("job", "list")
        assert (done.returncode, done.stdout) == (Exit.ACCESS, ""), done.stderr
        assert "UNAUTHENTICATED" in done.stderr


async def test_another_customers_job_is_as_unknown_as_none(service: Installation) -> None:
    job = json.loads(_create(service, f"http://source.localhost:{free_port()}", "admin", "x", "--no-watch").stdout)
    token = _token_of_somebody_else(service)
    seen = _as(service, token).run("job", "get", job["job_id"])
    assert (seen.returncode, seen.stdout) == (Exit.NOT_FOUND, "")
    async with connect(service.client["server"], token) as client:
        calls = (client.get_job, client.cancel_job, client.get_clone, client.delete_clone, client.create_sign_in_link)
        for call in calls:
            answers = []
            for asked in (job["job_id"], _OTHERS):
                with pytest.raises(ClientError) as refused:
                    await call(asked)
                answers.append((refused.value.code, refused.value.reason, refused.value.message.replace(asked, "ID")))
            assert answers[0] == answers[1]
            assert answers[0][0] is grpc.StatusCode.NOT_FOUND
        assert (await client.list_jobs(), await client.list_clones()) == ([], [])
    service.run("job", "cancel", job["job_id"])
    service.run("job", "wait", job["job_id"])
    nothing_left(service, job["job_id"])


def _token_of_somebody_else(service: Installation) -> str:
    """A token of a customer of their own, made as an operator makes it."""
    environ = service.environ | _server_settings(service)
    for words in (("customer", "create", "somebody-else"), ("token", "create", "--customer", "somebody-else")):
        done = subprocess.run(
            [sys.executable, "-m", "server.admin", *words], env=environ, capture_output=True, text=True, check=True,
            timeout=30,
        )  # fmt: skip
    return done.stdout.strip()


def _server_settings(service: Installation) -> dict[str, str]:
    """The settings of the running server, read from its process."""
    content = Path(f"/proc/{service.part('server')['pid']}/environ").read_text()
    pairs = (entry.partition("=") for entry in content.split("\0") if entry.startswith("WPCLONE_"))
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("token", ["rubbish", "W10", "ä", "x" * 5000], ids=["rubbish", "empty", "not ascii", "long"])
async def test_a_bad_page_token_over_grpc(service: Installation, token: str) -> None:
    metadata = (("authorization", f"Bearer {service.client['token']}"),)
    async with grpc.aio.insecure_channel(service.client["server"]) as channel:
        stub = CloneServiceStub(channel)
        for call in (
            stub.ListJobs(ListJobsRequest(page_token=token), metadata=metadata, timeout=10),
            stub.ListClones(ListClonesRequest(page_token=token), metadata=metadata, timeout=10),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            error = from_rpc_error(refused.value)
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
            assert [violation.field for violation in error.violations] == ["page_token"]
