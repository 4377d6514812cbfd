"""The source of a clone job: where its agent is or comes to be, and one HTTP session for each attempt at a step.

A source that is a clone beside ours has an agent already (`neighbours`)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from yarl import URL

from workers.neighbours import NearClone, Neighbours
from workers.step import StepContext
from wpclone.core.jobs.errors import Fatal
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.login import AdminLogin
from wpclone.wordpress.session import SiteSession
from wpclone.wordpress.way_in import WayIn

REACH = "reach_source"
"""The step whose facts say where the agent is."""


@dataclass(frozen=True)
class Sources:
    """Reaches sources. `clock` gives epoch seconds; `neighbours` are known where clones live on this machine; `agent_slug` is
    the agent's name in WordPress's plugin directory, if it has one."""

    policy: AddressPolicy
    clock: Callable[[], float]
    chance: random.Random
    neighbours: Neighbours | None = None
    agent_slug: str = ""
    _installing: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary, repr=False, compare=False)

    @asynccontextmanager
    async def alone(self, context: StepContext) -> AsyncIterator[None]:
        """One of this worker's jobs at a time in a site's wp-admin: WordPress empties wp-content/upgrade at each upload, and
        writes an account's sessions without a lock. Jobs of other workers may still come between; that is transient."""
        host = urlsplit(context.job.request["source_url"]).hostname or ""
        lock = self._installing.get(host)
        if lock is None:
            lock = self._installing[host] = asyncio.Lock()
        async with lock:
            yield

    @asynccontextmanager
    async def session(self, context: StepContext | None = None) -> AsyncIterator[SiteSession]:
        """A session for one attempt; of a job whose site asks for HTTP Basic, one that answers."""
        async with SiteSession(self.policy, clock=self.clock, chance=self.chance) as session:
            if context is not None:
                _answer_basic(session, context)
            yield session

    @asynccontextmanager
    async def agent(self, context: StepContext) -> AsyncIterator[AgentClient]:
        """The source's agent, after `reach_source`."""
        own = own_clone(context)
        if own is not None:
            async with self.agent_of_clone(own) as agent:
                yield agent
            return
        async with self.session(context) as session:
            yield AgentClient(session, address(context))

    @asynccontextmanager
    async def agent_of_clone(self, clone_id: str) -> AsyncIterator[AgentClient]:
        """The agent of a clone beside ours. Raises Fatal(CLONE_GONE)."""
        if self.neighbours is None:
            raise Fatal("CLONE_GONE", "The source is a clone on another machine.")
        address = await self.neighbours.agent(clone_id)
        # Our own clone: no user chose this address.
        here = replace(self, policy=AddressPolicy(allow_private=True))
        async with here.session() as session:
            yield AgentClient(session, address)

    async def find_own(self, context: StepContext) -> str | None:
        """The id of the clone beside ours that the job copies, if its source is one."""
        found = await self.neighbours.source_of(context.job) if self.neighbours is not None else None
        return found.clone_id if found is not None else None

    async def near(self, context: StepContext) -> NearClone | None:
        """What brings the source's files, if they are on this machine."""
        own = own_clone(context)
        return await self.neighbours.near(context.clone_id, own) if own is not None and self.neighbours is not None else None


def _answer_basic(session: SiteSession, context: StepContext) -> None:
    """Give the session the web server's user and password, which came in the URL and are kept among the job's secrets."""
    user, _, password = str(context.secrets.source.get("basic", "")).partition(":")
    if user:
        session.remember(URL(context.job.request["source_url"]).with_user(user).with_password(password))


def own_clone(context: StepContext) -> str | None:
    """The clone beside ours that `reach_source` found the source to be."""
    found: str | None = context.facts.get(REACH, {}).get("own_clone")
    return found


def is_admin_login(context: StepContext) -> bool:
    """Whether a password is the way in, so that the agent has a key of ours, which we take away again."""
    return bool(context.job.request["source_kind"] == "admin_login")


def admin_login(context: StepContext) -> AdminLogin:
    """The administrator's name and password, the account's own or an application's."""
    source = context.secrets.source
    return AdminLogin(url=context.job.request["source_url"], username=source["username"], password=source["password"])


def address(context: StepContext) -> AgentAddress:
    """Where the agent of this job answers."""
    url = context.facts[REACH]["agent_url"]
    return AgentAddress(url, context.secrets.agent_key if is_admin_login(context) else given_key(context))


def way_in(context: StepContext) -> WayIn:
    """How we got in, by a password."""
    return WayIn(address(context), context.facts[REACH].get("plugin", ""))


def given_key(context: StepContext) -> bytes:
    """The key of an agent that the customer installed, as `wpclone agent zip` printed it. Raises Fatal."""
    try:
        return bytes.fromhex(context.secrets.source["agent_key"].strip())
    except ValueError:
        raise Fatal("AGENT_REFUSED", "The agent's key is not one that `wpclone agent zip` prints.") from None
