"""What the `wpclone job` commands do."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from wpclone.cli.complaint import complain, say
from wpclone.cli.exits import Exit
from wpclone.cli.following import following, tell_end
from wpclone.cli.options import Format
from wpclone.cli.rendering import JOB_HEADER, job_row, job_text, print_line, print_many, print_one
from wpclone.cli.session import Terms, run
from wpclone.client import TERMINAL, CloneClient
from wpclone.v2 import job_pb2


def get(terms: Terms, job_id: str) -> None:
    """Print one job."""

    async def work(client: CloneClient) -> Exit:
        print_one(await client.get_job(job_id), terms.output, job_text)
        return Exit.OK

    run(terms, work)


def list_all(terms: Terms, *, status: str, kind: str, limit: int) -> None:
    """Print jobs, newest first."""

    async def work(client: CloneClient) -> Exit:
        print_many(await client.list_jobs(status=status, kind=kind, limit=limit), terms.output, JOB_HEADER, job_row)
        return Exit.OK

    run(terms, work)


def watch(terms: Terms, job_id: str, *, after_revision: int) -> None:
    """Follow one job to its end, print it, and end with its code."""

    async def work(client: CloneClient) -> Exit:
        return await watched(client, terms, job_id, after_revision=after_revision)

    run(terms, work)


def wait(terms: Terms, job_id: str, *, within: timedelta | None) -> None:
    """Wait for one job's end, at most `within`, and print the job as it is then."""

    async def work(client: CloneClient) -> Exit:
        try:
            async with asyncio.timeout(within.total_seconds() if within is not None else None):
                return await watched(client, terms, job_id)
        except TimeoutError:
            job = await client.get_job(job_id)  # it may have ended, when the time given was none to look in
        print_one(job, terms.output, job_text)
        if job.status not in TERMINAL:
            complain(f"{job_id} is not finished")
        return tell_end(job)

    run(terms, work)


def cancel(terms: Terms, job_id: str, *, follow: bool) -> None:
    """Ask to cancel one job, and follow it until it is undone if asked to."""

    async def work(client: CloneClient) -> Exit:
        job = await client.cancel_job(job_id)
        if not follow:
            print_one(job, terms.output, job_text)
            return Exit.OK
        code = await watched(client, terms, job_id)
        # Being cancelled is what was asked for.
        return Exit.OK if code is Exit.CANCELLED else code

    run(terms, work)


def retry(terms: Terms, job_id: str, *, follow: bool) -> None:
    """Ask for a failed or cancelled job again, and follow the new one if asked to."""

    async def work(client: CloneClient) -> Exit:
        return await accepted(client, terms, await client.retry_job(job_id), follow=follow)

    run(terms, work)


async def watched(client: CloneClient, terms: Terms, job_id: str, *, after_revision: int = 0) -> Exit:
    """Follow a job and print it: with jsonl each revision as it comes, else the final one. The exit code is the job's."""
    with following(client, terms) as follower:
        each = print_line if terms.output is Format.JSONL else None
        job = await follower.follow(job_id, after_revision=after_revision, on_revision=each)
    if terms.output is not Format.JSONL:
        print_one(job, terms.output, job_text)
    return tell_end(job)


async def accepted(client: CloneClient, terms: Terms, job: job_pb2.Job, *, follow: bool) -> Exit:
    """What comes of a job that was just asked for: it is followed and printed at its end, or printed with how to follow it."""
    if follow:
        return await watched(client, terms, job.job_id)
    print_one(job, terms.output, job_text)
    say(f"accepted; follow it with: wpclone job watch {job.job_id}")
    return Exit.OK
