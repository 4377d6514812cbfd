"""The two sites of a restore: where its content comes from, and the site it is written to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from workers.at_target import at_target
from workers.clone_agent import clone_agent_address
from workers.clone_records import CloneRecords
from workers.sources import Sources
from workers.step import StepContext
from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Clone, Job
from wpclone.wordpress.address import AddressPolicy
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.restore.target import RestoreTarget, fence_number
from wpclone.wordpress.session import SiteSession

AgentOf = Callable[[str, bytes], AgentAddress]
"""Where the agent of the clone at a URL answers, with its guard key; `clone_agent_address`, but in tests without an Envoy."""


@dataclass(frozen=True)
class RestoreSites:
    """Reaches both."""

    sources: Sources
    records: CloneRecords
    agent_of: AgentOf = clone_agent_address

    async def clone(self, context: StepContext) -> Clone:
        """The clone that is restored from. Raises Fatal(CLONE_GONE)."""
        clone = await self.records.get(context.clone_id)
        if not clone.url:
            raise Fatal("CLONE_GONE", "The clone to restore from was never made.")
        return clone

    @asynccontextmanager
    async def source(self, context: StepContext) -> AsyncIterator[AgentClient]:
        """The agent of the clone, or of the site that `reach_source` reached."""
        if context.job.clone_id is None:
            async with self.sources.agent(context) as agent:
                yield agent
            return
        clone = await self.clone(context)
        address = self.agent_of(clone.url, self.records.guard_key(clone))
        # Our own clone, wherever it lives: no user chose this address.
        here = replace(self.sources, policy=AddressPolicy(allow_private=True))
        async with here.session() as session:
            yield AgentClient(session, address)

    @asynccontextmanager
    async def session(self, context: StepContext) -> AsyncIterator[SiteSession]:
        """A session with the target's pages."""
        async with self.sources.session(at_target(context)) as session:
            yield session

    @asynccontextmanager
    async def target_agent(self, context: StepContext) -> AsyncIterator[AgentClient]:
        """The target's agent, after `reach_target`."""
        async with self.sources.agent(at_target(context)) as agent:
            yield agent

    @asynccontextmanager
    async def target(self, context: StepContext) -> AsyncIterator[RestoreTarget]:
        """The target as this claim may write it."""
        async with self.target_agent(context) as agent:
            yield target_of(agent, context)


def restore_id(job: Job) -> str:
    """The restore that a job is about: its own, or the one it takes back or drops."""
    return str(job.request.get("restore_id") or job.job_id)


def target_of(agent: AgentClient, context: StepContext) -> RestoreTarget:
    """The site behind this agent, as this claim may write it."""
    return RestoreTarget(agent, restore_id(context.job), fence=fence_number(context.job.created_at, context.fence))
