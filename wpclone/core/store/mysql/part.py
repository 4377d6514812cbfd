"""What all parts of the MySQL store share: the database, and reading one job."""

from __future__ import annotations

from wpclone.core.jobs.errors import JobNotFound
from wpclone.core.jobs.job import Job
from wpclone.core.store.mysql.database import Database, Result, Session
from wpclone.core.store.mysql.rows import JOB_WITH_STEPS, jobs_from


class Part:
    """One noun's methods of the store."""

    def __init__(self, database: Database) -> None:
        self._db = database


def job_of(found: Result) -> Job:
    """The one job of a JOB_WITH_STEPS. Raises JobNotFound."""
    for job in jobs_from(found.rows).values():
        return job
    raise JobNotFound


async def job_in(session: Session, job_id: str, *, commit: bool = False) -> Job:
    """Read a job within a transaction. Raises JobNotFound."""
    (found,) = await session.run(JOB_WITH_STEPS, commit=commit, job_id=job_id)
    return job_of(found)
