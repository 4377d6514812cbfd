"""The option `active_plugins` without agents of ours, which must be active where a host refuses their own files."""

from __future__ import annotations

import re

_LIST = re.compile(rb'a:\d+:\{((?:i:\d+;s:\d+:"[^"]*";)*)\}')
_ENTRY = re.compile(rb'i:\d+;s:\d+:"([^"]*)";')
_AGENT = re.compile(rb"wpc-[0-9a-f]{24}/wpc-[0-9a-f]{24}\.php|wpclone-agent[a-z0-9-]*/[a-z0-9-]+\.php")


def is_agent(plugin: str) -> bool:
    """Whether a plugin (`folder/file.php`) is an agent, of this copy or another."""
    return _AGENT.fullmatch(plugin.encode()) is not None


def without_agents(value: bytes) -> bytes:
    """A serialized list of plugins without agents, numbered anew; every other value as it is."""
    found = _LIST.fullmatch(value)
    if found is None or not _AGENT.search(value):
        return value
    kept = [plugin for plugin in _ENTRY.findall(found[1]) if not _AGENT.fullmatch(plugin)]
    entries = b"".join(b'i:%d;s:%d:"%s";' % (i, len(plugin), plugin) for i, plugin in enumerate(kept))
    return b"a:%d:{%s}" % (len(kept), entries)
