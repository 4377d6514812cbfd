"""Get an agent at the source: install ours with an administrator's sign-in, enrol a key at the customer's with an application
password, or greet the one whose key the customer gave.

A source that is a clone of the customer's on this machine has one already, and no sign-in is asked for.
"""

from __future__ import annotations

import structlog

from workers.sources import REACH, Sources, admin_login, given_key, is_admin_login, own_clone, way_in
from workers.step import Done, StepContext
from wpclone.wordpress.address import check_address
from wpclone.wordpress.agent.channels import is_through_wordpress, opened
from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.session import SiteSession
from wpclone.wordpress.way_in import WayIn, enter, leave

_log = structlog.get_logger(__name__)

_NEVER_IN = frozenset({Reason.MALFORMED_URL, Reason.ADDRESS_NOT_ALLOWED, Reason.SOURCE_UNREACHABLE})
"""Reasons after which there is no getting in to look, either."""

_NO_FILE = (
    "The target runs no PHP files in its plugins directory, and a restore cannot go through WordPress, which stands still for the"
    " exchange; put the agent (`wpclone agent zip`) where PHP files run, and give its key."
)


class ReachSource:
    """The step `reach_source`. Its undo removes an agent that we installed, and a key that we enrolled."""

    name = REACH

    def __init__(self, sources: Sources, *, writes: bool = False) -> None:
        """`writes`: the site is exchanged for another, during which WordPress does not answer, and so no agent through it."""
        self._sources = sources
        self._writes = writes

    async def do(self, context: StepContext) -> Done:
        """Facts: `agent_url`; `plugin` if it has a key that we enrolled; `own_clone` if the source is one.

        The key derives from the job's seed, so a second install or enrolment finds the first.
        """
        own = await self._sources.find_own(context)
        if own is not None:
            async with self._sources.agent_of_clone(own) as agent:
                await agent.hello()
                return Done({"agent_url": agent.address.url, "own_clone": own})
        await check_address(context.job.request["source_url"], self._sources.policy)
        async with self._sources.session(context) as session:
            if not is_admin_login(context):
                address = await opened(session, context.job.request["source_url"], given_key(context))
                self._refuse(address.url)
                return Done({"agent_url": address.url})
            way = await self._enter(session, context)
            try:
                self._refuse(way.address.url)
            except SiteError:
                await leave(session, admin_login(context), way)
                raise
        return Done({"agent_url": way.address.url, **({"plugin": way.plugin} if way.plugin else {})})

    def _refuse(self, url: str) -> None:
        if self._writes and is_through_wordpress(url):
            raise SiteError(Reason.AGENT_BLOCKED, _NO_FILE)

    async def _enter(self, session: SiteSession, context: StepContext) -> WayIn:
        secrets = context.secrets
        async with self._sources.alone(context):
            return await enter(
                session, admin_login(context), key=secrets.agent_key, folder=secrets.agent_folder, slug=self._sources.agent_slug
            )

    async def undo(self, context: StepContext) -> None:
        """Remove what we installed. Where the source can't be reached for that, the agent expires by itself."""
        if not is_admin_login(context) or _nothing_stayed(context):
            return
        if own_clone(context) is not None or await self._sources.find_own(context) is not None:
            return
        try:
            await self._remove(context)
        except SiteError as error:
            if error.transient and not context.is_last_attempt:
                raise
            # Either nothing could ever be installed there, or nothing can be reached any more.
            _log.warning("agent.left", job_id=context.job.job_id, reason=error.reason.value)

    async def _remove(self, context: StepContext) -> None:
        reached = "agent_url" in context.facts.get(REACH, {})
        async with self._sources.session(context) as session:
            # Nobody knows whether an upload happened before the end of the last attempt: a repeat finds it.
            way = way_in(context) if reached else await self._enter(session, context)
            await leave(session, admin_login(context), way)


def _nothing_stayed(context: StepContext) -> bool:
    """Whether the only attempt said itself that nothing of ours is at the source. Asking again would be one more failed
    sign-in, which some sites count."""
    row = next((step for step in context.job.steps if step.name == REACH), None)
    if row is None or row.last_error is None or row.facts:
        return False
    reason = row.last_error.reason
    return reason in _NEVER_IN or (row.attempts == 1 and reason in set(Reason))
