import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.support.hosting import (
    KEY,
    PASSWORD,
    PROBE_IN_WORDPRESS,
    HostedSite,
    Page,
    hosted_site,
    install_wordpress,
    running_keeper,
    wordpress_tree,
)
from tests.support.places import open_directory
from tests.support.servers import Mariadb
from tests.support.wait import until
from wpclone.core.sign_in import sign_in_url

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HIDE_LOGIN = "<?php /* Plugin Name: Hide login */ add_action('login_init', function () { status_header(404); exit('hidden'); });"
HELLO = "<?php /* Plugin Name: Hello */ add_action('wp_head', function () { echo '<!-- hello plugin -->'; });"
EARLY = (
    "<?php wp_remote_get('http://early.example.com/beacon?secret=1');"
    " add_action('plugins_loaded', function () { wp_mail('early@example.com', 'early', 'from an mu-plugin'); }, -1);"
)
RULES = (
    "RewriteEngine On\nRewriteBase /\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n"
    "RewriteRule . /index.php [L]\n"
)
DROP_IN = "<?php define('DROP_IN_RAN', true);"


@pytest.fixture(scope="module")
def site(mariadb_server: Mariadb) -> Iterator[HostedSite]:
    """A WordPress that was installed inside a clone, with a plugin that hides the login and an mu-plugin that phones home."""
    files = {
        "wp-probe.php": PROBE_IN_WORDPRESS,
        ".htaccess": RULES,
        "robots.txt": "User-agent: *\nAllow: /\n",
        "wp-content/plugins/wps-hide-login/hide.php": HIDE_LOGIN,
        "wp-content/plugins/hello/hello.php": HELLO,
        "wp-content/mu-plugins/early.php": EARLY,
        "wp-content/advanced-cache.php": DROP_IN,
        "hostile/.htaccess": "php_value auto_prepend_file none\nphp_value open_basedir none\n"
        "php_flag user_ini.filename .user.ini\n",
        "hostile/probe.php": "<?php echo defined('WPCLONE_GUARD') ? 'guarded' : 'free', '|', ini_get('open_basedir');",
        "hostile/.user.ini": "auto_prepend_file=none\n",
    }
    with open_directory("wp") as directory, running_keeper(mariadb_server.place.port) as run:
        tree = wordpress_tree(directory)
        with hosted_site(run, mariadb_server, files, tree, allow=("allowed.example.com",)) as hosted:
            install_wordpress(hosted)
            hosted.php("update_option('active_plugins', array('hello/hello.php', 'wps-hide-login/hide.php'));", in_wordpress=True)
            hosted.php("update_option('permalink_structure', '/%postname%/');", in_wordpress=True)
            yield hosted


def option(site: HostedSite, server: Mariadb, name: str) -> str:
    ((value,),) = server.execute("SELECT option_value FROM wp_options WHERE option_name = %s", name, database=site.database.name)
    text: str = value
    return text


def sign_in(site: HostedSite, password: str, login: str = "admin") -> Page:
    return site.get(
        "/wp-login.php",
        method="POST",
        body=urlencode({"log": login, "pwd": password}),
        headers={**FORM, "Cookie": "wordpress_test_cookie=x"},
    )


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def link(
    site: HostedSite, nonce: str, *, key: bytes = KEY, clone_id: str | None = None, ago: int = 0, user: str = "admin"
) -> str:
    now = datetime.now(UTC) - timedelta(seconds=ago)
    return path_of(sign_in_url(site.site["url"], key, clone_id or site.clone_id, user, now, nonce))


def notes(site: HostedSite, log: str = "http") -> list[dict[str, str]]:
    path = site.state_dir / f"{log}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_no_search_engine_is_let_in_and_the_row_stays(site: HostedSite, mariadb_server: Mariadb) -> None:
    page = site.get("/")
    assert page.status == 200
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert site.get("/wp-includes/images/blank.gif").headers["x-robots-tag"] == "noindex, nofollow"
    assert site.get("/robots.txt").body == "User-agent: *\nDisallow: /\n"
    assert site.php("echo get_option('blog_public');", in_wordpress=True) == "0"
    assert option(site, mariadb_server, "blog_public") == "1"


def test_pages_show_when_the_clone_ends_between_marks_that_can_be_cut_out(site: HostedSite) -> None:
    found = re.findall(
        r"<!--wpclone-banner-->.*?removed after \d{4}-\d\d-\d\d \d\d:\d\d UTC.*?<!--/wpclone-banner-->", site.get("/").body
    )
    assert len(found) == 1
    assert "wpclone-banner" not in site.get("/?feed=rss2").body


def test_mail_of_wordpress_is_kept_in_a_file_and_reported_as_sent(site: HostedSite) -> None:
    sent = site.php("var_dump(wp_mail('who@example.com', 'a subject', 'a body'));", in_wordpress=True)
    assert "bool(true)" in sent
    kept = [json.loads(path.read_text()) for path in (site.state_dir / "mail").glob("wp-*.json")]
    assert [mail["message"] for mail in kept if mail["subject"] == "a subject"] == ["a body"]
    assert any(mail["subject"] == "early" for mail in kept)


def test_mail_of_php_is_kept_in_a_file(site: HostedSite) -> None:
    assert (
        site.php("var_dump(mail('who@example.com', 'plain subject', 'plain body', 'From: x@example.com', '-f x@example.com'));")
        == "bool(true)\n"
    )
    kept = [path.read_text() for path in (site.state_dir / "mail").glob("mail-*")]
    assert any("Subject: plain subject" in mail and "plain body" in mail for mail in kept)


def test_a_site_that_mails_in_a_loop_does_not_fill_the_disk(site: HostedSite) -> None:
    kept = site.state_dir / "mail"
    many = "$m = str_repeat('x', 400000); for ($i = 0; $i < %d; $i++) { %s || exit('refused'); } echo 'sent';"
    assert "sent" in site.php(many % (600, "wp_mail('who@example.com', 'again', $m)"), in_wordpress=True)
    assert site.php(many % (3, "mail('who@example.com', 'again', $m)")) == "sent"
    assert len(list(kept.iterdir())) == 500
    for path in kept.glob("wp-*"):
        path.unlink()
    assert site.php(many % (2, "mail('who@example.com', 'again', $m)")) == "sent"
    assert {path.stat().st_size for path in kept.glob("mail-*") if "again" in path.read_text()} == {250_000}


def test_requests_to_other_servers_are_refused_and_noted_without_their_query(site: HostedSite) -> None:
    answer = site.php(
        "$r = wp_remote_post('http://pay.example.com/charge?card=4242', array('body' => 'x')); echo $r->get_error_code();",
        in_wordpress=True,
    )
    assert answer == "http_request_not_executed"
    tried = notes(site)
    (noted,) = [note for note in tried if note["host"] == "pay.example.com"]
    assert (noted["method"], noted["path"]) == ("POST", "/charge")
    assert any(note["host"] == "early.example.com" for note in tried), "an mu-plugin's request came before the guard"
    assert "4242" not in json.dumps(tried)
    assert "secret" not in json.dumps(tried)


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("http://allowed.example.com/x", True),
        ("https://allowed.example.com:8443/x", True),
        ("http://not-allowed.example.com/x", False),
        ("http://allowed.example.com.evil.example/x", False),
        ("http://allowed.example.com@evil.example/x", False),
        ("http://127.0.0.1:8222/", False),
        ("//", False),
        ("", False),
    ],
)
def test_only_itself_and_the_allow_list_may_be_reached(site: HostedSite, url: str, may: bool) -> None:
    assert site.php(f"var_dump(wpclone_guard_may_reach({json.dumps(url)}));") == f"bool({str(may).lower()})\n"
    assert site.php("var_dump(wpclone_guard_may_reach(wpclone_guard_config()['url'] . '/x'));") == "bool(true)\n"


def test_nothing_scheduled_runs(site: HostedSite) -> None:
    assert site.get("/wp-cron.php").status == 403
    answer = site.php(
        "wp_schedule_single_event(time() - 60, 'due'); echo count(wp_get_ready_cron_jobs()), DISABLE_WP_CRON ? 'off' : 'on',"
        " apply_filters('action_scheduler_queue_runner_concurrent_batches', 5),"
        " (int) apply_filters('action_scheduler_allow_async_request_runner', true);",
        in_wordpress=True,
    )
    assert answer == "0off00"


def test_drop_ins_left_in_the_copy_do_not_run(site: HostedSite) -> None:
    assert site.php("var_dump(defined('DROP_IN_RAN'));", in_wordpress=True) == "bool(false)\n"


def test_the_administrator_signs_in_with_the_generated_password_and_no_row_of_the_password_changes(
    site: HostedSite, mariadb_server: Mariadb
) -> None:
    before = mariadb_server.execute("SELECT user_login, user_pass FROM wp_users", database=site.database.name)
    for login in ("admin", "admin@example.com"):
        answer = sign_in(site, PASSWORD, login)
        assert answer.status == 302, answer.body
        assert any(cookie.startswith("wordpress_logged_in_") for cookie in answer.cookies)
    dashboard = site.get("/wp-admin/", headers={"Cookie": "; ".join(answer.cookies)})
    assert dashboard.status == 200
    assert "wpclone-banner" in dashboard.body
    assert "CLONE" in dashboard.body
    assert mariadb_server.execute("SELECT user_login, user_pass FROM wp_users", database=site.database.name) == before


def test_the_sources_own_password_still_works_and_a_wrong_one_does_not(site: HostedSite) -> None:
    assert sign_in(site, "from the source").status == 302
    for password, login in (("wrong", "admin"), ("", "admin"), (PASSWORD, "nobody"), (PASSWORD, "")):
        answer = sign_in(site, password, login)
        assert answer.status == 200
        assert not any(cookie.startswith("wordpress_logged_in_") for cookie in answer.cookies)


def test_a_link_signs_in_once(site: HostedSite) -> None:
    path = link(site, "nonce-used-once-0001")
    first = site.get(path)
    assert first.status == 302
    assert first.headers["location"] == f"{site.site['url']}/wp-admin/"
    assert first.headers["referrer-policy"] == "no-referrer"
    dashboard = site.get("/wp-admin/", headers={"Cookie": "; ".join(first.cookies)})
    assert dashboard.status == 200
    again = site.get(path)
    assert again.status == 403
    assert not again.cookies


def test_only_an_administrator_gets_the_list_of_what_was_left(site: HostedSite, mariadb_server: Mariadb) -> None:
    def sql(statement: str, *values: object) -> None:
        mariadb_server.execute(statement, *values, database=site.database.name)

    first = site.get(link(site, "nonce-left-list-0001"))
    cookies = {"Cookie": "; ".join(first.cookies)}
    assert site.get("/wp-admin/?wpclone-left", headers=cookies).status == 404
    sql(
        "CREATE TABLE wpclone_left (id INT AUTO_INCREMENT PRIMARY KEY, table_name VARBINARY(255), row_key BLOB,"
        " column_name VARBINARY(255), reason VARBINARY(32), places INT)"
    )
    try:
        sql(
            "INSERT INTO wpclone_left (table_name, row_key, column_name, reason, places)"
            " SELECT 'wp_posts', CONCAT('Schlüssel=', seq), 'post_content', 'BASE64', 2 FROM seq_1_to_4001"
        )
        answer = site.get("/wp-admin/?wpclone-left", headers=cookies)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson; charset=utf-8")
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert [line["key"] for line in lines] == [f"Schlüssel={number}" for number in range(1, 4002)]
        assert lines[0] == {"table": "wp_posts", "key": "Schlüssel=1", "column": "post_content", "reason": "BASE64", "places": 2}
        assert "?wpclone-left" in site.get("/wp-admin/", headers=cookies).body
        for path in ("/wp-admin/?wpclone-left", "/wp-admin/admin-ajax.php?action=heartbeat&wpclone-left"):
            stranger = site.get(path)
            assert stranger.status in {302, 403}
            assert "wp_posts" not in stranger.body
    finally:
        sql("DROP TABLE wpclone_left")


def test_of_many_visits_at_once_one_is_signed_in(site: HostedSite) -> None:
    path = link(site, "nonce-raced-for-0001")
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(site.get(path).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302, 403, 403, 403, 403, 403]


def test_links_of_another_key_clone_time_or_user_are_refused(site: HostedSite) -> None:
    good = link(site, "nonce-never-used-001")
    refused = [
        link(site, "nonce-other-key-0001", key=bytes(32)),
        link(site, "nonce-other-clone-01", clone_id="clone-ffffffffffff"),
        link(site, "nonce-too-old-000001", ago=301),
        link(site, "nonce-too-new-000001", ago=-3600),
        link(site, "nonce-no-such-user-1", user="nobody"),
        good[:-2],
        good.replace("=ey", "=Ey"),
        "/?wpclone-sign-in=",
        "/?wpclone-sign-in=a.b.c",
        "/?wpclone-sign-in[]=x",
    ]
    for path in refused:
        answer = site.get(path)
        assert answer.status == 403, path
        assert not answer.cookies
    assert site.get(good, headers={"Sec-Purpose": "prefetch"}).status == 403
    assert site.get(good).status == 302


def test_plugins_that_lock_the_login_do_not_run_and_stay_active_in_the_row(site: HostedSite, mariadb_server: Mariadb) -> None:
    assert "wps-hide-login" in option(site, mariadb_server, "active_plugins")
    assert site.get("/wp-login.php").status == 200
    assert "<!-- hello plugin -->" in site.get("/").body
    site.php("require ABSPATH . 'wp-admin/includes/plugin.php'; deactivate_plugins('hello/hello.php');", in_wordpress=True)
    row = option(site, mariadb_server, "active_plugins")
    assert "hello/hello.php" not in row
    assert "wps-hide-login" in row, "saving the list dropped what the clone does not show"


def test_htaccess_and_user_ini_do_not_get_rid_of_the_guard(site: HostedSite) -> None:
    page = site.get("/hostile/probe.php")
    assert page.status in {200, 500}
    assert "free" not in page.body
    if page.status == 200:
        assert page.body.startswith("guarded|")
        assert site.site["docroot"] in page.body
    assert site.get("/hostile/.user.ini").status == 403
    assert site.get("/.htaccess").status == 403


def test_the_site_may_write_its_own_files_and_read_its_own_only(site: HostedSite) -> None:
    assert site.php("echo file_put_contents('wp-content/written.txt', 'x');") == "1"
    assert site.php("echo (int) @file_get_contents('/etc/passwd');") == "0"
    if site.site["egress"] == "rejected":  # without uids of their own, a site's PHP owns its guard's files too
        assert (
            site.php("echo (int) @file_put_contents(wpclone_guard_config()['state_dir'] . '/../guard/config.json', '{}');") == "0"
        )


@contextmanager
def damaged(path: Path, content: bytes | None) -> Iterator[None]:
    """A guard file that is missing or holds something else, for a while."""
    kept = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(kept)
        path.chmod(0o644)


@pytest.mark.parametrize("content", [None, b"", b"not json", b"{}", b'{"clone_id": "x"}'])
def test_without_a_whole_configuration_nothing_of_the_site_runs(site: HostedSite, content: bytes | None) -> None:
    with damaged(Path(site.site["guard_dir"]) / "config.json", content):
        for path in ("/", "/wp-login.php", "/probe.php"):
            page = site.get(path)
            assert page.status == 503, path
            assert page.headers["retry-after"] == "10"
            assert "This clone is not ready" in page.body
            assert "wp-content" not in page.body


def test_without_the_guard_itself_nothing_of_the_site_runs(site: HostedSite) -> None:
    def runs() -> Page:
        return site.get("/probe.php", method="POST", body="echo 'ran';")

    with damaged(Path(site.site["guard_dir"]) / "guard.php", None):
        # PHP's cache looks at a file again after two seconds (opcache.revalidate_freq).
        until(lambda: runs().status == 500, within=10)
        assert "ran" not in runs().body
    until(lambda: runs().status == 200, within=10)


def test_links_without_a_host_into_the_sources_directory_lead_to_the_clones_root(site: HostedSite) -> None:
    site.adopt(config={"source_path": "/blog"})
    try:
        for asked, leads in (
            ("/blog/hello-world/?x=1", "/hello-world/?x=1"), ("/Blog", "/"), ("/blog?p=1", "/?p=1"),
            ("/blog/wp-login.php", "/wp-login.php"), ("/blog//evil.example/x", "/evil.example/x"),
        ):  # fmt: skip
            answer = site.get(asked)
            assert (answer.status, answer.headers.get("location")) == (307, site.site["url"] + leads), asked
        assert site.get("/blogger/").status == 404
        page = "array('post_title' => 'Blog', 'post_name' => 'blog', 'post_type' => 'page', 'post_status' => 'publish')"
        site.php(f"wp_insert_post({page});", in_wordpress=True)
        assert site.get("/blog/").status == 200
    finally:
        site.adopt()
    assert site.get("/blog/hello-world/").status != 307


def test_a_clone_long_past_its_end_answers_410(site: HostedSite) -> None:
    site.adopt(config={"expires_at": "2020-01-01T00:00:00Z"})
    assert site.get("/").status == 410
    site.adopt()
    assert site.get("/").status == 200


def test_wordpress_reaches_its_own_address(site: HostedSite) -> None:
    """Its address is Envoy's; in this test a small listener stands there, as the firewall lets only that port through."""
    with socket.create_server(("127.0.0.1", int(site.site["host"].partition(":")[2]))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nself")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        body = site.php("echo wp_remote_retrieve_body(wp_remote_get(home_url('/x')));", in_wordpress=True)
        thread.join(10)
    assert body == "self"
