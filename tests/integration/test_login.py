"""Signing in to a real wp-admin: the way in, the way out, and each wall told apart."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, running_source_site, site_session
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.login import AdminLogin, install_agent, remove_agent

KEY = bytes(range(32))
# Rows that a sign-in and an upload write by themselves, besides which nothing may change.
_WRITTEN = {
    "session_tokens",
    "cron",
    "_transient",
    "_site_transient",
    "recently_activated",
    "wp_user-settings",
    "show_",
    "community-",
}


@pytest.fixture(scope="module")
def source(mariadb_server: Mariadb) -> Iterator[SourceSite]:
    with running_source_site(mariadb_server, upload_bytes=1_000_000) as site:
        yield site


def _login(source: SourceSite, **changes: str) -> AdminLogin:
    fields = {"url": source.url, "username": source.site.admin, "password": source.site.password, **changes}
    return AdminLogin(**fields)


def _folder() -> str:
    return f"wpc-{secrets.token_hex(8)}"


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def _options(source: SourceSite) -> dict[object, object]:
    rows = source.sql("SELECT option_name, option_value FROM wp_options")
    rows += source.sql("SELECT CONCAT(user_id, meta_key), meta_value FROM wp_usermeta")
    return {name: value for name, value in rows if not any(mark in str(name) for mark in _WRITTEN)}


async def test_an_agent_is_installed_found_again_and_removed_without_a_trace(source: SourceSite) -> None:
    async with site_session() as session:
        await session.fetch("GET", URL(source.url))  # WordPress ends its installation on the first visit
        files, options, folder = _files(source.docroot), _options(source), _folder()
        address = await install_agent(session, _login(source), key=KEY, folder=folder)
        await AgentClient(session, address).hello()
        again = await install_agent(session, _login(source, password="no longer needed"), key=KEY, folder=folder)
        assert again == address
        await remove_agent(session, address)
        await remove_agent(session, address)
    left = {path for path in _files(source.docroot) - files if not re.fullmatch(r"wp-content/(uploads/\d+(/\d+)?|upgrade)", path)}
    assert left == set()
    assert _options(source) == options
    assert source.sql("SELECT COUNT(*) FROM wp_posts WHERE post_title LIKE '%.zip%'") == [(0,)]


async def _refused(login: AdminLogin) -> SiteError:
    async with site_session() as session:
        with pytest.raises(SiteError) as caught:
            await install_agent(session, login, key=KEY, folder=_folder())
    return caught.value


async def test_a_wrong_password_is_told(source: SourceSite) -> None:
    assert (await _refused(_login(source, password="wrong"))).reason is Reason.LOGIN_REFUSED


async def test_an_editor_may_not_install(source: SourceSite) -> None:
    role = "UPDATE wp_usermeta SET meta_value = %s WHERE meta_key = 'wp_capabilities' AND user_id = 1"
    source.sql(role, 'a:1:{s:6:"editor";b:1;}')
    try:
        assert (await _refused(_login(source))).reason is Reason.LOGIN_LACKS_CAPABILITY
    finally:
        source.sql(role, 'a:1:{s:13:"administrator";b:1;}')


# What plugins do to the login, as must-use plugins of one line each.
_WALLS = {
    Reason.LOGIN_TWO_FACTOR: "add_action('wp_login', function () { wp_clear_auth_cookie();"
    " echo '<form><input name=\"authcode\"></form>'; exit; });",
    Reason.LOGIN_HIDDEN: "add_action('login_init', function () { status_header(404); echo 'nothing here'; exit; });",
    Reason.FILE_MODS_DISABLED: "define('DISALLOW_FILE_MODS', true);",
    Reason.FILESYSTEM_NOT_DIRECT: "add_filter('filesystem_method', function () { return 'ftpext'; });",
    Reason.LOGIN_TRY_LATER: "add_filter('authenticate', function () {"
    " return new WP_Error('locked', 'Too many failed attempts. Please try again in 20 minutes.'); }, 99);",
}


@pytest.mark.parametrize("reason", _WALLS, ids=str)
async def test_each_wall_has_its_own_reason_and_leaves_nothing(source: SourceSite, reason: Reason) -> None:
    wall = source.put("wp-content/mu-plugins/wall.php", f"<?php {_WALLS[reason]}".encode())
    try:
        files = _files(source.docroot)
        error = await _refused(_login(source))
        assert error.reason is reason
        assert "wpc-" not in " ".join(_files(source.docroot) - files)
    finally:
        wall.unlink()


async def test_a_web_server_without_wordpress_is_told(source: SourceSite) -> None:
    source.put("plain/index.html", b"<html><body>plain</body></html>")
    assert (await _refused(_login(source, url=f"{source.url}/plain/"))).reason is Reason.NOT_WORDPRESS


async def test_plugins_that_may_not_run_php_block_the_agent_and_the_upload_is_taken_back(source: SourceSite) -> None:
    rules = source.put("wp-content/plugins/.htaccess", b'<FilesMatch "\\.php$">\nRequire all denied\n</FilesMatch>\n')
    try:
        files = _files(source.docroot)
        error = await _refused(_login(source))
        assert error.reason in (Reason.AGENT_BLOCKED, Reason.SOURCE_WAF)
        assert "wpc-" not in " ".join(_files(source.docroot) - files)
    finally:
        rules.unlink()
