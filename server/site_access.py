"""Sites in requests: nested (`source {admin_login}`, `source {agent}`) or spelled flat (`source_url`, …); targets likewise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from server import site_url
from server.violations import Violations
from wpclone.v2 import clone_service_pb2, site_pb2

LONGEST_NAME = 255
LONGEST_SECRET = 1024


@dataclass(frozen=True)
class Source:
    """A site and the way in: `kind` is admin_login or agent; `secrets` is what the worker finds under `source` (or `target`) in
    the job's secrets."""

    kind: str
    url: str
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class SpelledSite:
    """A site as a request spells it; `name` is the field's, `source` or `target`."""

    name: str
    nested: site_pb2.SourceSite | None
    flat: site_pb2.AdminLogin

    @property
    def is_given(self) -> bool:
        """Whether anything of it is."""
        return self.nested is not None or self._is_flat

    @property
    def _is_flat(self) -> bool:
        return bool(self.flat.url or self.flat.username or self.flat.password)

    def read(self, wrong: Violations) -> Source:
        """The site; notes what is wrong."""
        access = self.nested.WhichOneof("access") if self.nested is not None else None
        name = self.name
        if self._is_flat and self.nested is not None:
            wrong.add(name, f"must not be given together with {name}_url, {name}_username and {name}_password")
        if self._is_flat:
            return read_admin_login(wrong, self.flat, f"{name}_")
        if self.nested is not None and access == "admin_login":
            return read_admin_login(wrong, self.nested.admin_login, f"{name}.admin_login.")
        if self.nested is not None and access == "agent":
            return _read_agent(wrong, self.nested.agent, f"{name}.agent.")
        wrong.add(name, "is needed: admin_login {url, username, password} or agent {url, key}")
        return Source("", "", {})


def spelled_source(request: clone_service_pb2.CreateCloneRequest | clone_service_pb2.CreateRestoreRequest) -> SpelledSite:
    """The source of a request."""
    flat = site_pb2.AdminLogin(url=request.source_url, username=request.source_username, password=request.source_password)
    return SpelledSite("source", request.source if request.HasField("source") else None, flat)


def spelled_target(request: clone_service_pb2.CreateRestoreRequest) -> SpelledSite:
    """The target of a request."""
    flat = site_pb2.AdminLogin(url=request.target_url, username=request.target_username, password=request.target_password)
    return SpelledSite("target", request.target if request.HasField("target") else None, flat)


def read_admin_login(wrong: Violations, login: site_pb2.AdminLogin, prefix: str) -> Source:
    """A sign-in; notes what is wrong."""
    url, basic = _read_url(wrong, f"{prefix}url", login.url)
    username = wrong.read_text(f"{prefix}username", login.username, longest=LONGEST_NAME)
    password = wrong.read_text(f"{prefix}password", login.password, longest=LONGEST_SECRET)
    return Source("admin_login", url, {"username": username, "password": password, **basic})


def _read_agent(wrong: Violations, agent: site_pb2.Agent, prefix: str) -> Source:
    url, basic = _read_url(wrong, f"{prefix}url", agent.url)
    return Source("agent", url, {"agent_key": wrong.read_text(f"{prefix}key", agent.key, longest=LONGEST_SECRET), **basic})


def _read_url(wrong: Violations, name: str, given: str) -> tuple[str, dict[str, str]]:
    """The URL as it may be shown, and as a secret what the web server in front of the site asks for (HTTP Basic)."""
    url, basic = site_url.without_user(given)
    fault = site_url.fault(url)
    if fault is not None:
        wrong.add(name, fault)
    return url, {"basic": basic} if basic else {}
