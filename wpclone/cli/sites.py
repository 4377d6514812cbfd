"""A site as the options of a command name it: its address, and the way in."""

from __future__ import annotations

from wpclone.v2 import site_pb2


def site(url: str, username: str, secret: str, *, is_agent: bool) -> site_pb2.SourceSite:
    """The site at `url`. `secret` is the administrator's password, or the key when `is_agent`: then `url` is the agent's own."""
    if is_agent:
        return site_pb2.SourceSite(agent=site_pb2.Agent(url=url, key=secret))
    return site_pb2.SourceSite(admin_login=site_pb2.AdminLogin(url=url, username=username, password=secret))
