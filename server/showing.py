"""What one is shown of a job beyond its row: when it will probably be done, and, to the owner, the clone's password."""

from __future__ import annotations

import structlog

from server import render
from server.estimates import Estimates
from wpclone.core.jobs.job import Job, Principal
from wpclone.core.jobs.states import JobKind, JobState
from wpclone.core.secrets import KeyRing, SecretsUnreadable, password
from wpclone.v2 import job_pb2

_log = structlog.get_logger(__name__)


class Showing:
    """Renders jobs: `job` for everyone who may see it, `to` somebody, with the password for the owner."""

    def __init__(self, estimates: Estimates, keys: KeyRing) -> None:
        self._estimates = estimates
        self._keys = keys

    def job(self, job: Job) -> job_pb2.Job:
        """The job as watchers are shown it."""
        return render.job(job, estimated_completion=self._estimates.completion(job), password=None)

    def listed(self, job: Job) -> job_pb2.Job:
        """The job in a list: without steps, hence without our estimate."""
        return render.job(job, estimated_completion=job.estimated_completion, password=None)

    def to(self, who: Principal, job: Job) -> job_pb2.Job:
        """The job as GetJob and WaitJob show it: with the password of a completed clone when `who` owns it."""
        secret = self._password(job) if who.customer_id == job.customer_id else None
        return render.job(job, estimated_completion=self._estimates.completion(job), password=secret)

    def _password(self, job: Job) -> str | None:
        """Derived from the job's seed, as the worker does; None when there is none or the seed can no longer be read."""
        if job.kind is not JobKind.CLONE or job.clone_id is None or job.state is not JobState.COMPLETED or job.secrets is None:
            return None
        try:
            seed = self._keys.unseal(job.secrets, job.job_id)["seed"]
        except SecretsUnreadable:
            _log.exception("job.secrets_unreadable", job_id=job.job_id)
            return None
        return password(bytes.fromhex(seed), "admin")
