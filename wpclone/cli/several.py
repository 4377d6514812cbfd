"""Several clones at once: all asked for together, all followed, each with its own end, one exit code for the whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from wpclone.cli import table
from wpclone.cli.complaint import complain
from wpclone.cli.exits import Exit, exit_of_job, exit_of_reason, exit_of_several
from wpclone.cli.following import Follower, following
from wpclone.cli.options import Format
from wpclone.cli.rendering import body, write
from wpclone.cli.session import Terms, run
from wpclone.client import ClientError, CloneClient
from wpclone.v2 import clone_service_pb2, job_pb2

AT_ONCE = 50
"""How many requests are on their way at a time; watching has no such bound."""

HEADER = ("ITEM", "JOB", "STATUS", "URL", "USERNAME", "PASSWORD", "ERROR")


@dataclass(frozen=True)
class Outcome:
    """How one item ended: its job as last seen, or None when it was not accepted; why it went wrong, if it did."""

    item: int
    end: Exit
    job: job_pb2.Job | None
    error: str = ""
    reason: str = ""


def create(terms: Terms, requests: Sequence[clone_service_pb2.CreateCloneRequest], *, follow: bool) -> None:
    """Ask for all, follow all if asked to, print each outcome."""

    async def work(client: CloneClient) -> Exit:
        with following(client, terms, several=True) as follower:
            gate = asyncio.Semaphore(AT_ONCE)
            items = [
                _item(number, request, client, follower if follow else None, gate, terms)
                for number, request in enumerate(requests, start=1)
            ]
            outcomes = await asyncio.gather(*items)
        _print(outcomes, terms)
        return _tell(outcomes)

    run(terms, work)


async def _item(
    number: int,
    request: clone_service_pb2.CreateCloneRequest,
    client: CloneClient,
    follower: Follower | None,
    gate: asyncio.Semaphore,
    terms: Terms,
) -> Outcome:
    """One clone from request to end; an error is an outcome, not the others' trouble."""
    job = None
    try:
        async with gate:
            job = await client.create_clone(request)
        if follower is not None:
            job = await follower.follow(job.job_id)
        end = exit_of_job(job.status) if follower is not None else Exit.OK
        outcome = Outcome(number, end, job, job.error, job.error_detail.reason)
    except ClientError as error:
        outcome = Outcome(number, exit_of_reason(error.reason), job, error.message, error.reason)
    if terms.output is Format.JSONL:
        write(json.dumps(_shown(outcome), ensure_ascii=False))
    return outcome


def _print(outcomes: Sequence[Outcome], terms: Terms) -> None:
    if terms.output is Format.TABLE:
        write(table.columns(HEADER, [_row(outcome) for outcome in outcomes]))
    elif terms.output is Format.JSON:
        write(json.dumps([_shown(outcome) for outcome in outcomes], ensure_ascii=False, indent=2))


def _tell(outcomes: Sequence[Outcome]) -> Exit:
    bad = [outcome for outcome in outcomes if outcome.end is not Exit.OK]
    if bad:
        details = tuple(f"item {outcome.item}: {outcome.error or outcome.end.name.lower()}" for outcome in bad)
        complain(f"{len(bad)} of {len(outcomes)} did not complete", details=details)
    return exit_of_several([outcome.end for outcome in outcomes])


def _shown(outcome: Outcome) -> dict[str, object]:
    return {
        "item": outcome.item,
        "exit_code": int(outcome.end),
        "job": body(outcome.job) if outcome.job is not None else None,
        "error": outcome.error,
        "reason": outcome.reason,
    }


def _row(outcome: Outcome) -> tuple[str, ...]:
    job = outcome.job or job_pb2.Job(status="refused")
    result = job.result
    return str(outcome.item), job.job_id, job.status, result.clone_url, result.username, result.password, outcome.error
