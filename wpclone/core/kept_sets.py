"""Jobs that take back or drop what a restore put aside at its target: asked for by a customer, or by the clock."""

from __future__ import annotations

from datetime import timedelta

from wpclone.core.ids import Randomness, new_job_id
from wpclone.core.jobs.job import Job, NewJob
from wpclone.core.jobs.states import JobKind, KeptState, Priority
from wpclone.core.secrets import KeyRing

RESTORE_VERSION = 1
"""The version of the plans that new restore jobs are pinned to, and those of their rollbacks and releases."""

LEAVING_RUNS_FOR = timedelta(hours=2)
"""The deadline of a rollback or a release."""

ACTIONS = {KeptState.ROLLED_BACK: "rollback", KeptState.RELEASED: "release"}
"""What such a job's request says it does; plans are found by it."""


def leaving_job(
    restore: Job, becomes: KeptState, keys: KeyRing, randomness: Randomness, *, priority: Priority = Priority.NORMAL
) -> NewJob:
    """The job after which what `restore` put aside is ROLLED_BACK or RELEASED. It gets in at the target as the restore did.

    Raises SecretsUnreadable.
    """
    job_id = new_job_id(JobKind.RESTORE, randomness)
    known = keys.unseal(restore.secrets or b"", restore.job_id)
    secrets = {"seed": randomness(32).hex(), "source": {}, "target": known["target"]}
    request = {
        "action": ACTIONS[becomes],
        "restore_id": restore.job_id,
        "target_url": restore.request["target_url"],
        "target_kind": restore.request["target_kind"],
    }
    return NewJob(
        job_id=job_id, kind=JobKind.RESTORE, customer_id=restore.customer_id, request=request,
        secrets=keys.seal(secrets, job_id), definition_version=RESTORE_VERSION,
        run_for=LEAVING_RUNS_FOR, priority=priority,
    )  # fmt: skip
