"""Agents are no part of the plugins a copy activates."""

import pytest

from wpclone.wordpress.active_plugins import is_agent, without_agents

AGENT = "wpc-0123456789abcdef01234567"
OURS = f"{AGENT}/{AGENT}.php"


def _serialized(*plugins: str) -> bytes:
    entries = "".join(f'i:{i};s:{len(plugin)}:"{plugin}";' for i, plugin in enumerate(plugins))
    return f"a:{len(plugins)}:{{{entries}}}".encode()


def test_agents_leave_and_the_rest_is_numbered_anew() -> None:
    assert without_agents(_serialized("a/a.php", OURS, "b.php")) == _serialized("a/a.php", "b.php")
    assert without_agents(_serialized(OURS)) == b"a:0:{}"
    assert without_agents(_serialized("wpclone-agent/wpclone-agent.php", "b.php")) == _serialized("b.php")


@pytest.mark.parametrize(
    "value", [_serialized("a/a.php"), b"", OURS.encode(), b"a:1:{s:1:" + OURS.encode(), _serialized("wpc-tools/wpc-tools.php")]
)
def test_every_other_value_stays(value: bytes) -> None:
    assert without_agents(value) == value


def test_a_plugin_that_only_begins_like_an_agent_is_none() -> None:
    assert is_agent(OURS)
    assert not is_agent("wpc-tools/wpc-tools.php")
