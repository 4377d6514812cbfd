"""A server that is killed once for each new job whose request id asks for it, and comes back at once.

`commit-…`: after the job's commit, before anything else. `publish-…`: before its ring, so after or while the reply is sent. The
process forks a child for each life; whoever started it kills the group.
"""

import os
import signal

import uvloop

from server import bootstrap
from wpclone.core import logs
from wpclone.core.bus.jetstream import JetStreamBus
from wpclone.core.jobs.job import Job, NewClone, NewJob, RequestKey, Ring
from wpclone.core.settings import ServerSettings, read
from wpclone.core.store.mysql import MysqlStore

_DIES_AT_RING: set[str] = set()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingStore(MysqlStore):
    """Kills its process after the commit of a new job."""

    async def accept(self, new: NewJob, *, key: RequestKey | None = None, clone: NewClone | None = None) -> Job:
        """See JobStore.accept."""
        job = await super().accept(new, key=key, clone=clone)
        if key is not None and job.job_id == new.job_id:
            if key.request_id.startswith("commit-"):
                _die()
            if key.request_id.startswith("publish-"):
                _DIES_AT_RING.add(job.job_id)
        return job


class DyingBus(JetStreamBus):
    """Kills its process instead of ringing such a job."""

    async def ring(self, ring: Ring) -> None:
        """See Bus.ring."""
        if ring.job_id in _DIES_AT_RING:
            _die()
        await super().ring(ring)


def main() -> None:
    logs.configure("server", level="warning")
    settings = read(ServerSettings)
    vars(bootstrap).update(MysqlStore=DyingStore, JetStreamBus=DyingBus)
    while True:
        child = os.fork()
        if child == 0:
            uvloop.run(bootstrap.run(settings))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
