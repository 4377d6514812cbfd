"""Signing in to a real wp-admin to bring the agent, past and against every wall."""

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.places import free_port
from tests.support.source_site import SourceSite, site_session
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.login import AdminLogin, install_agent, remove_agent
from wpclone.wordpress.session import SiteSession

KEY = secrets.token_bytes(32)


def _folder() -> str:
    return "copy-" + secrets.token_hex(8)


def _login(source: SourceSite, **changed: str) -> AdminLogin:
    return AdminLogin(**{"url": source.url, "username": source.site.admin, "password": source.site.password, **changed})


@contextmanager
def _with(source: SourceSite, path: str, content: str, *, prepend: bool = False) -> Iterator[None]:
    """A file of the site's with this content, and back again."""
    file = source.docroot / path
    before = file.read_bytes() if file.exists() else None
    source.put(path, content.encode() + ((before or b"") if prepend else b""))
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            source.put(path, before)


@contextmanager
def _constant(source: SourceSite, line: str) -> Iterator[None]:
    file = source.docroot / "wp-config.php"
    before = file.read_text()
    file.write_text(before.replace("$table_prefix", line + "\n$table_prefix", 1))
    try:
        yield
    finally:
        file.write_text(before)


async def _refused(source: SourceSite, login: AdminLogin | None = None) -> SiteError:
    async with site_session() as session:
        with pytest.raises(SiteError) as refused:
            await install_agent(session, login or _login(source), key=KEY, folder=_folder())
    assert source.site.password not in repr(refused.value) + str(refused.value.metadata)
    assert sorted(path.name for path in (source.docroot / "wp-content/plugins").iterdir()) == ["akismet", "index.php", "noisy"]
    assert _sessions(source) == []
    return refused.value


def _sessions(source: SourceSite) -> list[tuple[object, ...]]:
    return list(source.sql("SELECT user_id FROM wp_usermeta WHERE meta_key = 'session_tokens'"))


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


async def test_an_administrator_brings_the_agent_and_removal_leaves_nothing_of_it(source_site: SourceSite) -> None:
    files = _files(source_site.docroot)
    posts = source_site.sql("SELECT ID, post_title FROM wp_posts")
    options = {str(name): value for name, value in source_site.sql("SELECT option_name, option_value FROM wp_options")}
    async with site_session() as session:
        address = await install_agent(session, _login(source_site), key=KEY, folder=_folder())
        assert (await inspect(AgentClient(session, address))).home == source_site.url
        assert KEY.hex() not in repr(address)
    async with site_session() as later:
        await remove_agent(later, address)
        await remove_agent(later, address)
    assert _files(source_site.docroot) == files
    assert source_site.sql("SELECT ID, post_title FROM wp_posts") == posts
    assert _sessions(source_site) == []
    changed = {
        str(name)
        for name, value in source_site.sql("SELECT option_name, option_value FROM wp_options")
        if options.get(str(name)) != value and "transient" not in str(name)
    }
    # WordPress's own: scheduled clean-ups, and what a first visit to wp-admin initialises.
    assert changed <= {"cron", "can_compress_scripts", "recently_activated", "finished_updating_comment_type"}
    assert "active_plugins" not in changed


async def test_bringing_the_agent_twice_signs_in_once(source_site: SourceSite) -> None:
    folder = _folder()
    async with site_session() as session:
        first = await install_agent(session, _login(source_site), key=KEY, folder=folder)
        again = await install_agent(session, _login(source_site, password="not needed"), key=KEY, folder=folder)
        assert again == first
        await remove_agent(session, first)


async def test_an_upload_over_a_folder_that_does_not_answer_cleans_up_behind_itself(source_site: SourceSite) -> None:
    folder = _folder()
    source_site.put(f"wp-content/plugins/{folder}/{folder}.php", b"<?php\n/*\n * Plugin Name: Temporary copy agent\n */")
    before = _files(source_site.docroot)
    async with site_session() as session:
        with pytest.raises(SiteError) as blocked:
            await install_agent(session, _login(source_site), key=KEY, folder=folder)
    assert not (source_site.docroot / "wp-content/plugins" / folder).exists()
    assert blocked.value.reason is Reason.AGENT_BLOCKED
    assert _files(source_site.docroot) <= before
    assert _sessions(source_site) == []


@pytest.mark.parametrize("changed", [{"password": "wrong"}, {"username": "nobody"}], ids=["password", "username"])
async def test_a_wrong_login_is_refused(source_site: SourceSite, changed: dict[str, str]) -> None:
    error = await _refused(source_site, _login(source_site, **changed))
    assert (error.reason, error.transient) == (Reason.LOGIN_REFUSED, False)
    assert "application" not in error.message


async def test_an_account_that_may_not_install_plugins_is_told_so(source_site: SourceSite) -> None:
    source_site.sql("UPDATE wp_users SET user_pass = MD5('author') WHERE user_login = 'author'")
    error = await _refused(source_site, _login(source_site, username="author", password="author"))
    assert error.reason is Reason.LOGIN_LACKS_CAPABILITY


_CONSTANTS = {
    "define('DISALLOW_FILE_MODS', true);": Reason.FILE_MODS_DISABLED,
    "define('FS_METHOD', 'ftpext');": Reason.FILESYSTEM_NOT_DIRECT,
}


@pytest.mark.parametrize("line", _CONSTANTS)
async def test_a_site_that_forbids_uploads_is_told_apart(source_site: SourceSite, line: str) -> None:
    with _constant(source_site, line):
        error = await _refused(source_site)
    assert error.reason is _CONSTANTS[line]
    assert "wpclone agent zip" in error.message


_MU_PLUGINS = {
    Reason.LOGIN_TWO_FACTOR: """add_action('wp_login', function ($login, $user) {
        WP_Session_Tokens::get_instance($user->ID)->destroy_all();
        wp_clear_auth_cookie();
        echo '<form name="validate_2fa_form" id="loginform" action="wp-login.php?action=validate_2fa" method="post">'
            . '<input type="text" name="authcode" id="authcode"><input type="submit"></form>';
        exit;
    }, 10, 2);""",
    Reason.LOGIN_CAPTCHA: """add_action('login_form', function () { echo '<div class="g-recaptcha"></div>'; });
    add_filter('authenticate', function () { return new WP_Error('captcha', 'Captcha missing'); }, 99);""",
    Reason.LOGIN_TRY_LATER: """add_filter('authenticate', function () {
        return new WP_Error('x', 'Too many failed login attempts. Please try again in 20 minutes.'); }, 99);""",
    Reason.LOGIN_HIDDEN: """add_action('login_init', function () { wp_safe_redirect(home_url('/404/')); exit; });""",
    Reason.SOURCE_DATABASE_DOWN: """add_action('login_init', function () {
        wp_die('<h1>Error establishing a database connection</h1>', '', 500); });""",
    Reason.SOURCE_BROKEN: """add_action('login_init', function () { wp_die('oops', '', 500); });""",
    Reason.SOURCE_WAF: """add_action('login_init', function () {
        status_header(403); die('Your access to this site has been limited: Wordfence'); });""",
    Reason.SOURCE_BUSY: """add_action('login_init', function () {
        status_header(429); header('Retry-After: 7'); die('slow down'); });""",
    Reason.SOURCE_REDIRECTS_ELSEWHERE: """add_action('login_init', function () {
        header('Location: http://elsewhere.localhost/wp-login.php'); exit; });""",
}


@pytest.mark.parametrize("reason", _MU_PLUGINS)
async def test_each_wall_has_its_reason(source_site: SourceSite, reason: Reason) -> None:
    with _with(source_site, "wp-content/mu-plugins/wall.php", "<?php\n" + _MU_PLUGINS[reason]):
        error = await _refused(source_site)
    assert error.reason is reason
    if reason is Reason.SOURCE_BUSY:
        assert error.retry_after == 7.0


async def test_a_site_that_asks_for_the_password_again_gets_it(source_site: SourceSite) -> None:
    again = """add_action('admin_init', function () {
        if (get_option('asked_again')) { return; }
        update_option('asked_again', 1);
        wp_redirect(wp_login_url('', true));
        exit;
    });"""
    with _with(source_site, "wp-content/mu-plugins/again.php", "<?php\n" + again):
        async with site_session() as session:
            address = await install_agent(session, _login(source_site), key=KEY, folder=_folder())
            await remove_agent(session, address)
    source_site.sql("DELETE FROM wp_options WHERE option_name = 'asked_again'")
    assert len(_sessions(source_site)) == 1  # the one the security plugin threw away; it ends by itself
    source_site.sql("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'")


async def test_the_admin_email_reminder_is_no_wall(source_site: SourceSite) -> None:
    source_site.sql("UPDATE wp_options SET option_value = '1' WHERE option_name = 'admin_email_lifespan'")
    async with site_session() as session:
        address = await install_agent(session, _login(source_site), key=KEY, folder=_folder())
        await remove_agent(session, address)


async def test_an_upload_that_another_one_spoils_is_worth_another_try(source_site: SourceSite) -> None:
    # What a second upload does at the wrong moment: WordPress empties wp-content/upgrade, where the first is unpacked.
    spoil = """add_filter('upgrader_source_selection', function ($source) {
        require_once ABSPATH . 'wp-admin/includes/file.php';
        WP_Filesystem();
        $GLOBALS['wp_filesystem']->delete($source, true);
        return $source;
    });"""
    with _with(source_site, "wp-content/mu-plugins/spoil.php", "<?php\n" + spoil):
        error = await _refused(source_site)
    assert (error.reason, error.transient) == (Reason.UPLOAD_REFUSED, True)


async def test_sign_ins_that_end_each_other_are_worth_another_try(source_site: SourceSite) -> None:
    ended = (
        "add_action('wp_login', function ($login, $user) { WP_Session_Tokens::get_instance($user->ID)->destroy_all(); }, 10, 2);"
    )
    with _with(source_site, "wp-content/mu-plugins/ended.php", "<?php\n" + ended):
        error = await _refused(source_site)
    assert (error.reason, error.transient) == (Reason.LOGIN_TRY_LATER, True)


async def test_a_web_server_password_is_named(source_site: SourceSite) -> None:
    passwords = source_site.place / "passwords"
    passwords.write_text("visitor:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n")  # "pass"
    basic = f'AuthType Basic\nAuthName "x"\nAuthUserFile {passwords}\nRequire valid-user\n'
    with _with(source_site, ".htaccess", basic, prepend=True):
        assert (await _refused(source_site)).reason is Reason.SOURCE_BASIC_AUTH
        host = source_site.url.replace("http://", "http://visitor:pass@")
        async with site_session() as session:
            address = await install_agent(session, _login(source_site, url=host), key=KEY, folder=_folder())
            assert "pass" not in address.url
            await remove_agent(session, address)


async def test_a_place_without_wordpress_is_told_so(source_site: SourceSite) -> None:
    with _with(source_site, "static/index.html", "<html><body>Hello</body></html>"):
        error = await _refused(source_site, _login(source_site, url=source_site.url + "/static/"))
    (source_site.docroot / "static").rmdir()
    assert error.reason is Reason.NOT_WORDPRESS


async def test_nobody_home_is_told_so(source_site: SourceSite) -> None:
    error = await _refused(source_site, _login(source_site, url=f"http://source.localhost:{free_port()}"))
    assert (error.reason, error.transient) == (Reason.SOURCE_UNREACHABLE, True)
    error = await _refused(source_site, _login(source_site, url="http://no-such-host.invalid/"))
    assert error.reason is Reason.SOURCE_UNREACHABLE


async def test_a_local_address_is_refused_unless_allowed(source_site: SourceSite) -> None:
    async with SiteSession(AddressPolicy(), clock=lambda: 0.0, chance=random.Random(1)) as session:
        with pytest.raises(SiteError) as refused:
            await install_agent(session, _login(source_site), key=KEY, folder=_folder())
    assert refused.value.reason is Reason.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("page", ["/wp-admin/", "/wp-login.php", "/wp-admin/plugins.php?x=1"])
async def test_the_address_of_an_admin_page_will_do(source_site: SourceSite, page: str) -> None:
    async with site_session() as session:
        address = await install_agent(session, _login(source_site, url=source_site.url + page), key=KEY, folder=_folder())
        await remove_agent(session, address)


async def test_an_agent_address_hides_its_key() -> None:
    assert "secret" not in repr(AgentAddress("http://x/", b"secret secret secret"))
