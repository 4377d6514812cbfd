"""A restore job seen from its target: the same steps that reach and leave a source then reach and leave the site written to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workers.job_secrets import JobSecrets
from workers.sources import REACH
from workers.step import StepContext

REACH_TARGET = "reach_target"
"""The step whose facts say where the target's agent is."""


class TargetSecrets(JobSecrets):
    """The secrets of a restore job as its target has them: its own sign-in, and an agent of its own."""

    @property
    def source(self) -> dict[str, Any]:
        """How to get in at the target."""
        return dict(self.content["target"])

    @property
    def agent_key(self) -> bytes:
        """The key of the agent we install at the target."""
        return self.derived("target-agent")

    @property
    def agent_folder(self) -> str:
        """The unguessable name of its plugin folder."""
        return f"wpc-{self.derived('target-agent-folder').hex()[:24]}"


def at_target(context: StepContext) -> StepContext:
    """What a step is told, with the target in the source's place."""
    request = {**context.job.request, "source_url": context.job.request["target_url"]}
    request["source_kind"] = context.job.request["target_kind"]
    steps = tuple(
        replace(step, name=REACH) if step.name == REACH_TARGET else step for step in context.job.steps if step.name != REACH
    )
    facts = {name: known for name, known in context.facts.items() if name != REACH}
    if REACH_TARGET in facts:
        facts[REACH] = facts[REACH_TARGET]
    job = replace(context.job, request=request, steps=steps)
    return replace(context, job=job, facts=facts, secrets=TargetSecrets.like(context.secrets))
