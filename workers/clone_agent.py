"""The agent of a clone of ours: it lies beside the guard, outside of the site, and answers at the clone's own address.

So a restore reads a clone as it reads any other site. Its key derives from the clone's guard key, which is kept encrypted.
"""

from __future__ import annotations

from wpclone.core.secrets import derive
from wpclone.wordpress.agent.client import AgentAddress
from wpclone.wordpress.agent.package import agent_source

FILE = "wpclone-agent.php"
"""Its name in the guard's directory, and at the end of its address: guard.php knows it."""


def clone_agent(guard_key: bytes) -> dict[str, bytes]:
    """The agent's file, to lie beside the guard's. It answers as long as the clone does."""
    return {FILE: agent_source(key=_key(guard_key), expires_at=0)}


def clone_agent_address(url: str, guard_key: bytes) -> AgentAddress:
    """Where the agent of the clone at `url` answers."""
    return AgentAddress(f"{url.rstrip('/')}/index.php/{FILE}", _key(guard_key))


def _key(guard_key: bytes) -> bytes:
    return derive(guard_key, "agent")
