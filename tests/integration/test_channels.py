"""The ways to an agent when a host or a firewall refuses the plain one."""

import contextlib
import re
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from tests.integration.test_copy_tables import Target, _assert_equal, _tables, target
from tests.integration.test_login import KEY, _folder, _login, _sessions, _with
from tests.support.source_site import SourceSite, agent_of, site_session
from wpclone.wordpress.agent.channels import opened
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.login import install_agent, remove_agent
from wpclone.wordpress.tables import copy_tables

__all__ = ["target"]

DENY_PHP = '<FilesMatch "\\.php$">\nRequire all denied\n</FilesMatch>\n'
DENY_AJAX = '<Files "admin-ajax.php">\nRequire expr "%{QUERY_STRING} =~ /rest-nonce/"\n</Files>\n'
DENY_JSON = "RewriteEngine On\nRewriteCond %{HTTP:Content-Type} json [NC]\nRewriteRule .* - [F]\n"
DENY_AGENTS = "RewriteEngine On\nRewriteCond %{QUERY_STRING} (action|rest_route)=(/|%2F)?copy-\nRewriteRule .* - [F]\n"
DENY_VERBS = "RewriteEngine On\nRewriteCond %{REQUEST_METHOD} !^(GET|POST|HEAD)$\nRewriteRule .* - [F]\n"


@pytest.fixture
def refusing(source_site: SourceSite) -> Iterator[SourceSite]:
    """The source where no PHP file in wp-content/plugins is run."""
    with _with(source_site, "wp-content/plugins/.htaccess", DENY_PHP):
        yield source_site


ACTIVE = "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'"


def _active(source: SourceSite | Target) -> list[str]:
    """The active plugins in their order; WordPress leaves and closes gaps in their numbers as it likes."""
    return re.findall(r'"([^"]+)"', str(source.sql(ACTIVE)[0][0]))


def _plugins(source: SourceSite) -> list[str]:
    return sorted(path.name for path in (source.docroot / "wp-content/plugins").iterdir())


@pytest.mark.parametrize("way", ["admin-ajax.php", "rest_route"])
async def test_an_agent_whose_file_is_refused_answers_through_wordpress(refusing: SourceSite, target: Target, way: str) -> None:
    before, plugins = _active(refusing), _plugins(refusing)
    with contextlib.ExitStack() as walls:
        if way == "rest_route":
            walls.enter_context(_with(refusing, "wp-admin/.htaccess", DENY_AJAX))
        async with agent_of(refusing) as plain:
            expected = await inspect(plain)
        async with site_session() as session:
            folder = _agent_folder()
            address = await install_agent(session, _login(refusing), key=KEY, folder=folder)
            assert way in address.url
            agent = AgentClient(session, address)
            report = await inspect(agent)
            assert _active(refusing) != before
            copied = await copy_tables(agent, report, target.database, rewriter=None, fence=1, progress=lambda counts: None)
            async with aclosing(agent.read("core", [(b"wp-login.php", 0)])) as stream:
                content = b"".join([bytes(part.data) async for parts in stream for part in parts])
            assert await install_agent(session, _login(refusing), key=KEY, folder=folder) == address
            await remove_agent(session, address)
            await remove_agent(session, address)
    assert content == (refusing.docroot / "wp-login.php").read_bytes()
    assert report.constants == expected.constants
    assert (report.active_plugins, report.table_prefix) == (expected.active_plugins, expected.table_prefix)
    assert (_active(refusing), _plugins(refusing), _sessions(refusing)) == (before, plugins, [])
    assert _active(target) == before
    assert copied.consistency == "SNAPSHOT"


def _agent_folder() -> str:
    return "wpc-" + _folder().removeprefix("copy-") + "0" * 8


async def test_an_agent_refused_everywhere_is_told_and_taken_away_again(refusing: SourceSite) -> None:
    before, plugins = _active(refusing), _plugins(refusing)
    with _with(refusing, ".htaccess", DENY_VERBS + DENY_AGENTS, prepend=True):
        async with site_session() as session:
            with pytest.raises(SiteError) as blocked:
                await install_agent(session, _login(refusing), key=KEY, folder=_folder())
    assert blocked.value.reason is Reason.AGENT_BLOCKED
    assert "wpclone agent zip" in blocked.value.message
    assert (_active(refusing), _plugins(refusing), _sessions(refusing)) == (before, plugins, [])


async def test_a_firewall_that_refuses_json_gets_forms_and_text(source_site: SourceSite, target: Target) -> None:
    with _with(source_site, ".htaccess", DENY_JSON, prepend=True):
        async with agent_of(source_site) as agent:
            with pytest.raises(SiteError):
                await agent.hello()
            address = await opened(agent._session, agent.address.url, agent.address.key)
            assert address == AgentAddress(agent.address.url + "#text", agent.address.key)
            asked = AgentClient(agent._session, address)
            await copy_tables(asked, await inspect(asked), target.database, rewriter=None, fence=1, progress=lambda counts: None)
    _assert_equal(source_site, target, _tables(source_site))


async def test_an_agent_that_is_not_there_is_asked_once(source_site: SourceSite) -> None:
    async with site_session() as session:
        with pytest.raises(SiteError) as gone:
            await opened(session, source_site.url + "/nothing-here.php", KEY)
    assert gone.value.metadata["status"] == "404"
