"""Getting in at a real WordPress with an application password: consent, enrolment at the agent's plugin, and away again."""

import json
import re
import secrets
import time
from collections.abc import Iterator

import pytest
from yarl import URL

from tests.integration.test_channels import DENY_PHP
from tests.integration.test_login import _constant, _with
from tests.support.consenting import Consenting, consenting
from tests.support.source_site import SourceSite, site_session
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.agent.package import keyless_agent_zip
from wpclone.wordpress.application_password import Enrolled, enrol, withdraw
from wpclone.wordpress.consent import APP_ID, consent_page
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.html_forms import parsed
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.login import AdminLogin
from wpclone.wordpress.rest import Refusal, RestAccess, rest_index
from wpclone.wordpress.session import SiteSession
from wpclone.wordpress.way_in import enter, leave

KEY = secrets.token_bytes(32)


@pytest.fixture
def site(source_site: SourceSite) -> Iterator[Consenting]:
    with consenting(source_site) as one:
        yield one


async def _enrolled(site: Consenting, key: bytes = KEY, **more: float) -> Enrolled:
    async with site_session() as session:
        return await enrol(session, site.login, key=key, **more)  # type: ignore[arg-type]


async def _refused(site: Consenting, login: AdminLogin | None = None) -> SiteError:
    async with site_session() as session:
        with pytest.raises(SiteError) as refused:
            await enrol(session, login or site.login, key=KEY)
    assert site.password not in repr(refused.value) + str(refused.value.metadata)
    assert (site.is_active, site.lying_there()) == (False, [])
    return refused.value


async def _answers(address: AgentAddress) -> bool:
    """Whether the agent knows the key; anything else than its refusal is raised."""
    async with site_session() as session:
        try:
            await AgentClient(session, address).hello()
        except SiteError as error:
            if error.reason is not Reason.AGENT_REFUSED:
                raise
            return False
        return True


async def _ask(site: Consenting, login: AdminLogin, verb: str, **data: str) -> object:
    async with site_session() as session:
        access = RestAccess(session, await rest_index(session, login.url), login.username, login.password)
        return await access.ask("POST", f"/wpclone-agent/v1/{site.folder}/{verb}", data)


async def test_consent_is_given_on_the_sites_own_page(site: Consenting) -> None:
    async with site_session() as session:
        page = await consent_page(session, site.source.url)
        assert (page.path, page.query["app_id"]) == ("/wp-admin/authorize-application.php", APP_ID)
        assert page.query["app_name"].startswith("wpclone 20")
        password = await _approve(session, site, page)
    async with site_session() as session:
        enrolled = await enrol(session, site.login_of(site.source.site.admin, password), key=KEY)
        await withdraw(session, site.login_of(site.source.site.admin, password), enrolled)
    site.source.sql("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'")


async def _approve(session: SiteSession, site: Consenting, page: URL) -> str:
    """What the administrator's browser does: sign in on the way to the page, and what auth-app.js does at the click; the password
    that is shown. (Without scripts this WordPress shows an empty field: it forgets to print it.)"""
    asked = await session.fetch("GET", page)
    form = parsed(asked.text).form("loginform")
    assert form is not None
    filled = {**form.fields, "log": site.source.site.admin, "pwd": site.source.site.password, "testcookie": "1"}
    await session.fetch("POST", asked.url.join(URL(form.action)), data=filled)  # may ask whether an e-mail address is still right
    shown = parsed((await session.fetch("GET", page)).text)
    (approved,) = [form.fields for form in shown.forms if "approve" in form.names]
    nonce = await session.fetch("GET", page.join(URL("admin-ajax.php?action=rest-nonce")))
    made = await session.fetch(
        "POST", (await rest_index(session, site.source.url)).route("/wp/v2/users/me/application-passwords"),
        data={"name": approved["app_name"], "app_id": approved["app_id"]}, headers={"X-WP-Nonce": nonce.text.strip()},
    )  # fmt: skip
    assert made.status == 201, made.text
    return str(json.loads(made.text)["password"])


async def test_the_agent_reads_the_site_and_is_inactive_again_afterwards(site: Consenting) -> None:
    enrolled = await _enrolled(site)
    assert await _enrolled(site) == enrolled
    assert site.is_active
    async with site_session() as session:
        assert (await inspect(AgentClient(session, enrolled.address))).home == site.source.url
        await withdraw(session, site.login, enrolled)
        await withdraw(session, site.login, enrolled)
    assert (site.is_active, site.lying_there()) == (False, [])
    assert not await _answers(enrolled.address)


async def test_a_plugin_that_its_owner_activated_stays_active_without_the_key(site: Consenting) -> None:
    site.activate()
    enrolled = await _enrolled(site)
    async with site_session() as session:
        await withdraw(session, site.login, enrolled)
    assert (site.is_active, site.lying_there()) == (True, [])
    assert not await _answers(enrolled.address)


async def test_the_key_of_one_copy_opens_nothing_for_another_and_the_last_one_puts_the_plugin_back(site: Consenting) -> None:
    first, other = await _enrolled(site), secrets.token_bytes(32)
    second = await _enrolled(site, other)
    assert first.address.url == second.address.url
    async with site_session() as session:
        await withdraw(session, site.login, first)
        assert (await _answers(first.address), await _answers(second.address), site.is_active) == (False, True, True)
        await withdraw(session, site.login, second)
    assert (await _answers(second.address), site.is_active, site.lying_there()) == (False, False, [])


async def test_deactivating_the_plugin_ends_every_key(site: Consenting) -> None:
    enrolled = await _enrolled(site)
    site.deactivate()
    assert not await _answers(enrolled.address)
    assert site.lying_there() == []
    async with site_session() as session:
        await withdraw(session, site.login, enrolled)
    assert not site.is_active


async def test_a_plugin_made_inactive_behind_its_back_keeps_no_key(site: Consenting) -> None:
    """As a restore of other plugins does: WordPress is not asked, and tells the plugin nothing."""
    enrolled = await _enrolled(site)
    active = site.source.sql("SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'")[0][0]
    without = 'a:1:{i:0;s:15:"noisy/noisy.php";}'
    site.source.sql("UPDATE wp_options SET option_value = %s WHERE option_name = 'active_plugins'", without)
    assert (active != without, await _answers(enrolled.address)) == (True, True)
    async with site_session() as session:
        await withdraw(session, site.login, enrolled)
        await withdraw(session, site.login, enrolled)
    assert (await _answers(enrolled.address), site.is_active, site.lying_there()) == (False, False, [])


async def test_a_key_ends_by_itself(site: Consenting) -> None:
    site.activate()
    enrolled = await _enrolled(site)
    (kept,) = site.directory.glob("key-*.php")
    kept.write_text(re.sub(r'"until":\d+', f'"until":{int(time.time()) - 1}', kept.read_text()))
    async with site_session() as session:
        with pytest.raises(SiteError) as ended:
            await AgentClient(session, enrolled.address).hello()
    assert ended.value.reason is Reason.AGENT_EXPIRED
    assert site.lying_there() == []


async def test_without_a_key_the_agent_answers_nobody(site: Consenting) -> None:
    site.activate()
    address = f"{site.source.url}/wp-content/plugins/{site.plugin}"
    for key in (KEY, b"", b"\0" * 32, bytes.fromhex("00" * 16)):
        assert not await _answers(AgentAddress(address, key))
        assert not await _answers(AgentAddress(address + "#text", key))


async def test_a_stored_key_is_shown_to_nobody(site: Consenting) -> None:
    enrolled = await _enrolled(site)
    (kept,) = site.directory.glob("key-*.php")
    assert KEY.hex() in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    async with site_session() as session:
        assert (await session.fetch("GET", URL(enrolled.address.url).join(URL(kept.name)))).body == b""
        for path in ("wp-json/", "wp-json/wpclone-agent/v1", "wp-json/wpclone-agent/v1/"):
            page = await session.fetch("GET", URL(site.source.url + "/").join(URL(path)))
            assert (page.status, site.folder in page.text) == (200 if path == "wp-json/" else 404, False)
        await withdraw(session, site.login, enrolled)


_OTHER_WAY_IN = "<?php add_filter('determine_current_user', function ($user) { return $user ?: 1; }, 99);"


async def test_only_an_application_password_or_a_session_with_its_nonce_enrols(site: Consenting) -> None:
    site.activate()
    nobody = site.login_of("nobody", "abcd EFGH 1234 ijkl MNOP 5678")
    said = await _ask(site, nobody, "enrol", key=KEY.hex())
    assert isinstance(said, Refusal)
    assert (said.code, said.status) == ("wpclone_not_signed_in", 401)
    with _with(site.source, "wp-content/mu-plugins/other.php", _OTHER_WAY_IN):
        async with site_session() as session:
            url = URL(site.source.url).with_query(rest_route=f"/wpclone-agent/v1/{site.folder}/enrol")
            answer = await session.fetch("POST", url, data={"key": KEY.hex()})
            assert (answer.status, "wpclone_not_signed_in" in answer.text) == (401, True)
    for data in ({}, {"key": "ab"}, {"key": KEY.hex().upper() + "\n"}):
        said = await _ask(site, site.login, "enrol", **data)
        assert isinstance(said, Refusal)
        assert (said.code, said.status) == ("wpclone_bad_key", 400)
    said = await _ask(site, site.login, f"enrol?key={KEY.hex()}")
    assert isinstance(said, Refusal)
    assert said.code == "wpclone_bad_key"
    assert site.lying_there() == []


_ASKING_EARLY = "<?php add_filter('rest_authentication_errors', function ($found) { is_user_logged_in(); return $found; }, 50);"
_NO_XML_RPC = '<Files "xmlrpc.php">\nRequire all denied\n</Files>\n'


async def test_a_session_with_its_nonce_enrols_too(site: Consenting) -> None:
    site.activate()
    async with site_session() as session:
        home = URL(site.source.url + "/")
        page = await session.fetch("GET", home.join(URL("wp-login.php")))
        form = parsed(page.text).form("loginform")
        assert form is not None
        filled = {**form.fields, "log": site.source.site.admin, "pwd": site.source.site.password, "testcookie": "1"}
        await session.fetch("POST", page.url, data=filled)
        route = (await rest_index(session, site.source.url)).route(f"/wpclone-agent/v1/{site.folder}/enrol")
        without = await session.fetch("POST", route, data={"key": KEY.hex()})
        assert (without.status, site.lying_there()) == (401, [])
        nonce = (await session.fetch("GET", home.join(URL("wp-admin/admin-ajax.php?action=rest-nonce")))).text.strip()
        enrolled = await session.fetch("POST", route, data={"key": KEY.hex()}, headers={"X-WP-Nonce": nonce})
        assert enrolled.status == 200
        assert await _answers(AgentAddress(json.loads(enrolled.text)["url"], KEY))
    site.source.sql("DELETE FROM wp_usermeta WHERE meta_key = 'session_tokens'")
    site.deactivate()


_SILENT = """<?php add_filter('rest_endpoints', function ($routes) {
    return array_filter($routes, function ($route) { return strpos($route, '/wpclone-agent') !== 0; }, ARRAY_FILTER_USE_KEY);
});"""


async def test_an_agent_that_is_silent_at_the_moment_is_worth_another_try(site: Consenting) -> None:
    """Another job may just have taken back the last key, and made the plugin inactive for that."""
    with _with(site.source, "wp-content/mu-plugins/silent.php", _SILENT):
        error = await _refused(site)
    assert (error.reason, error.transient) == (Reason.AGENT_BLOCKED, True)


async def test_a_withdrawn_password_is_told_so(site: Consenting) -> None:
    site.withdraw_passwords()
    error = await _refused(site)
    assert (error.reason, error.transient) == (Reason.LOGIN_REFUSED, False)
    assert ("withdrawn" in error.message, "Authorization" in error.message) == (True, False)
    with _with(site.source, "wp-content/mu-plugins/early.php", _ASKING_EARLY):  # plugins make WordPress say it itself
        assert (await _refused(site)).message == error.message
        error = await _refused(site, site.login_of("nobody", site.password))
        assert (error.reason, error.metadata["detail"]) == (Reason.LOGIN_REFUSED, "invalid_username")
    with _with(site.source, ".htaccess", _NO_XML_RPC, prepend=True):
        error = await _refused(site)
        assert (error.reason, "withdrawn" in error.message) == (Reason.LOGIN_REFUSED, True)
        assert "Authorization header" in error.message


async def test_a_password_withdrawn_in_the_middle_leaves_no_key_and_tells_what_stays(site: Consenting) -> None:
    enrolled = await _enrolled(site)
    site.withdraw_passwords()
    async with site_session() as session:
        with pytest.raises(SiteError) as stays:
            await withdraw(session, site.login, enrolled)
        assert stays.value.reason is Reason.AGENT_STAYS
        assert "deactivate it in wp-admin" in stays.value.message
    assert [name for name in site.lying_there() if name.startswith("key-")] == []
    assert not await _answers(enrolled.address)


async def test_a_password_withdrawn_in_the_middle_is_no_matter_where_the_plugin_was_active(site: Consenting) -> None:
    site.activate()
    enrolled = await _enrolled(site)
    site.withdraw_passwords()
    async with site_session() as session:
        await withdraw(session, site.login, enrolled)
    assert site.lying_there() == []


async def test_an_account_that_may_not_install_plugins_is_told_so(site: Consenting) -> None:
    error = await _refused(site, site.login_of("author", site.new_password("author")))
    assert error.reason is Reason.LOGIN_LACKS_CAPABILITY
    site.activate()
    said = await _ask(site, site.login_of("author", site.new_password("author")), "enrol", key=KEY.hex())
    assert isinstance(said, Refusal)
    assert (said.code, said.status) == ("wpclone_forbidden", 403)


async def test_without_the_agent_the_command_that_makes_it_is_named(site: Consenting) -> None:
    away = site.directory.with_name("away")
    site.directory.rename(site.source.place / "away")
    try:
        async with site_session() as session:
            with pytest.raises(SiteError) as missing:
                await enrol(session, site.login, key=KEY)
    finally:
        (site.source.place / away.name).rename(site.directory)
    assert missing.value.reason is Reason.AGENT_MISSING
    assert "wpclone agent zip --keyless" in missing.value.message


_OFF = _ASKING_EARLY + "add_filter('wp_is_application_passwords_available_for_user', '__return_false');"


async def test_each_wall_before_application_passwords_has_its_reason(site: Consenting) -> None:
    with _with(site.source, "wp-content/mu-plugins/off.php", _OFF):
        error = await _refused(site)
        assert (error.reason, "this account" in error.message) == (Reason.APPLICATION_PASSWORDS_OFF, True)
    with _with(site.source, ".htaccess", "RequestHeader unset Authorization\n"):
        assert (await _refused(site)).reason is Reason.AUTHORIZATION_STRIPPED
    with _with(site.source, ".htaccess", "RewriteEngine On\nRewriteRule ^wp-json - [R=404,L]\n"
               "RewriteCond %{QUERY_STRING} rest_route\nRewriteRule .* - [R=404,L]\n", prepend=True):  # fmt: skip
        assert (await _refused(site)).reason is Reason.REST_HIDDEN
    with _constant(site.source, "define('DISALLOW_FILE_MODS', true);"):
        assert (await _refused(site)).reason is Reason.FILE_MODS_DISABLED
    passwords = site.source.place / "passwords"
    passwords.write_text("visitor:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n")  # "pass"
    basic = f'AuthType Basic\nAuthName "x"\nAuthUserFile {passwords}\nRequire valid-user\n'
    with _with(site.source, ".htaccess", basic, prepend=True):
        for url in (site.source.url, site.source.url.replace("http://", "http://visitor:pass@")):
            error = await _refused(site, AdminLogin(url, site.source.site.admin, site.password))
            assert (error.reason, "application password" in error.message) == (Reason.SOURCE_BASIC_AUTH, True)


async def test_a_folder_that_cannot_be_written_is_told_and_the_plugin_inactive_again(site: Consenting) -> None:
    site.directory.chmod(0o555)
    try:
        error = await _refused(site)
    finally:
        site.directory.chmod(0o755)
    assert (error.reason, "may not write" in error.message) == (Reason.FILESYSTEM_NOT_DIRECT, True)


async def test_without_https_or_a_local_environment_it_says_so(source_site: SourceSite) -> None:
    async with site_session() as session:
        for attempt in (
            consent_page(session, source_site.url),
            enrol(session, AdminLogin(source_site.url, "admin", "abcd EFGH 1234 ijkl MNOP 5678"), key=KEY),
        ):
            with pytest.raises(SiteError) as refused:
                await attempt
            assert refused.value.reason is Reason.APPLICATION_PASSWORDS_NEED_HTTPS


async def test_plain_permalinks_hide_no_rest_api(site: Consenting) -> None:
    kept = (site.source.docroot / ".htaccess").read_bytes()
    site.source.sql("UPDATE wp_options SET option_value = '' WHERE option_name = 'permalink_structure'")
    (site.source.docroot / ".htaccess").write_text("SetEnvIf Authorization (.*) HTTP_AUTHORIZATION=$1\n")
    try:
        async with site_session() as session:
            assert (await rest_index(session, site.source.url)).root.query["rest_route"] == "/"
            enrolled = await enrol(session, site.login, key=KEY)
            await withdraw(session, site.login, enrolled)
    finally:
        (site.source.docroot / ".htaccess").write_bytes(kept)
        site.source.sql("UPDATE wp_options SET option_value = '/%postname%/' WHERE option_name = 'permalink_structure'")
    assert (site.is_active, site.lying_there()) == (False, [])


async def test_an_agent_whose_file_is_refused_answers_through_wordpress(site: Consenting) -> None:
    with _with(site.source, "wp-content/plugins/.htaccess", DENY_PHP):
        enrolled = await _enrolled(site)
        assert "admin-ajax.php" in enrolled.address.url
        async with site_session() as session:
            assert site.plugin not in (await inspect(AgentClient(session, enrolled.address))).active_plugins
            await withdraw(session, site.login, enrolled)
    assert (site.is_active, site.lying_there()) == (False, [])


_DIRECTORY = """<?php add_filter('plugins_api', function ($found, $action, $asked) {
    return (object) ['slug' => $asked->slug, 'version' => '1', 'download_link' => '@@ZIP@@', 'language_packs' => []];
}, 10, 3);"""


async def test_an_agent_of_the_plugin_directory_comes_and_goes(source_site: SourceSite) -> None:
    slug = "wpclone-agent"
    with consenting(source_site) as site:
        site.directory.rename(source_site.place / "away")
        packed = source_site.put("../agent.zip", keyless_agent_zip(folder=slug))
        try:
            with _with(source_site, "wp-content/mu-plugins/directory.php", _DIRECTORY.replace("@@ZIP@@", str(packed))):
                async with site_session() as session:
                    enrolled = await enrol(session, site.login, key=KEY, slug=slug)
                    assert (enrolled.plugin, await _answers(enrolled.address)) == (f"{slug}/{slug}", True)
                    report = await inspect(AgentClient(session, enrolled.address))
                    assert slug not in str(report.active_plugins)
                    await withdraw(session, site.login, enrolled)
            assert not (source_site.docroot / "wp-content/plugins" / slug).exists()
            (active,) = source_site.sql("SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'")
            assert slug not in str(active[0])
        finally:
            packed.unlink(missing_ok=True)
            (source_site.place / "away").rename(site.directory)


async def test_what_may_be_either_password_is_tried_as_both(site: Consenting) -> None:
    """Twenty-four letters and digits may be an application's password without its spaces, or an account's."""
    async with site_session() as session:
        joined = site.login_of(site.source.site.admin, site.password.replace(" ", ""))
        way = await enter(session, joined, key=KEY, folder="copy-0123456789abcdef")
        assert way.plugin == f"{site.folder}/{site.folder}"
        assert not await leave(session, joined, way)
    site.source.sql("UPDATE wp_users SET user_pass = MD5('abcdEFGH1234ijklMNOP5678') WHERE user_login = 'second'")
    async with site_session() as session:
        own = site.login_of("second", "abcdEFGH1234ijklMNOP5678")
        way = await enter(session, own, key=KEY, folder="copy-0123456789abcdef")
        assert way.plugin == ""
        assert await leave(session, own, way)
