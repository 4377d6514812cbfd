"""Following jobs to their end: progress to the stage, each revision to whoever asks, and how to resume when we let go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from wpclone.cli.complaint import complain, say
from wpclone.cli.exits import Exit, exit_of_job, exit_of_reason
from wpclone.cli.progress import Stage, stage
from wpclone.cli.session import Terms
from wpclone.cli.view import View, failure, fold
from wpclone.client import TERMINAL, ClientError, CloneClient
from wpclone.v2 import job_pb2

OnRevision = Callable[[job_pb2.Job], None]


class Follower:
    """Follows jobs on one stage and keeps in `unfinished` which have not ended, with the last revision seen of each."""

    def __init__(self, client: CloneClient, drawn: Stage, clock: Callable[[], float], unfinished: dict[str, int]) -> None:
        self._client = client
        self._stage = drawn
        self._clock = clock
        self._unfinished = unfinished

    async def follow(self, job_id: str, *, after_revision: int = 0, on_revision: OnRevision | None = None) -> job_pb2.Job:
        """The job when it is final, as its owner sees it. Raises ClientError."""
        self._unfinished[job_id] = after_revision
        view: View | None = None
        last: job_pb2.Job | None = None
        started = self._clock()
        try:
            async with aclosing(self._client.watch(job_id, after_revision=after_revision, on_lost=self._on_lost)) as revisions:
                async for job in revisions:
                    last, self._unfinished[job_id] = job, job.revision
                    view, line = fold(view, job, seconds=self._clock() - started)
                    self._stage.show(view, line)
                    if on_revision is not None and job.status not in TERMINAL:
                        on_revision(job)
            final = await self._final(job_id, last)
        except ClientError as error:
            if exit_of_reason(error.reason) is not Exit.UNREACHABLE:
                del self._unfinished[job_id]
            raise
        if on_revision is not None:
            on_revision(final)
        del self._unfinished[job_id]
        return final

    async def _final(self, job_id: str, last: job_pb2.Job | None) -> job_pb2.Job:
        """The job as its owner gets it: a watch carries no passwords. A server lost just now doesn't undo the job's end."""
        try:
            return await self._client.get_job(job_id)
        except ClientError as error:
            if last is None or exit_of_reason(error.reason) is not Exit.UNREACHABLE:
                raise
            self._stage.note(f"the result is not complete ({error.message}); see it with: wpclone job get {job_id}")
            return last

    def _on_lost(self, error: ClientError, pause: float) -> None:
        self._stage.note(f"connection lost ({error.message}); trying again in {pause:.1f} s")


@contextmanager
def following(client: CloneClient, terms: Terms, *, several: bool = False) -> Iterator[Follower]:
    """A follower. Whatever ends the block early, Ctrl-C above all, says that its jobs go on and how to resume."""
    unfinished: dict[str, int] = {}
    try:
        with stage(terms.progress, several=several) as drawn:
            yield Follower(client, drawn, time.monotonic, unfinished)
    finally:
        for job_id, revision in unfinished.items():
            say(f"{job_id} goes on; follow it with: wpclone job watch {job_id} --after-revision {revision}")


def tell_end(job: job_pb2.Job) -> Exit:
    """Say why a job did not complete, and give the exit code of its end."""
    if job.status == "failed":
        complain(f"{job.job_id} failed: {job.error}", details=failure(job))
    elif job.status == "cancelled":
        complain(f"{job.job_id} was cancelled")
    return exit_of_job(job.status)
