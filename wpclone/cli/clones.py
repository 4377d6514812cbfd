"""What the `wpclone clone` commands do, except asking for several at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wpclone.cli.exits import Exit
from wpclone.cli.jobs import accepted
from wpclone.cli.rendering import CLONE_HEADER, clone_row, clone_text, print_many, print_one
from wpclone.cli.session import Terms, run
from wpclone.client import CloneClient
from wpclone.v2 import clone_service_pb2


def create(terms: Terms, request: clone_service_pb2.CreateCloneRequest, *, follow: bool) -> None:
    """Ask for one clone, and follow its job if asked to."""

    async def work(client: CloneClient) -> Exit:
        return await accepted(client, terms, await client.create_clone(request), follow=follow)

    run(terms, work)


def get(terms: Terms, clone_id: str) -> None:
    """Print one clone."""

    async def work(client: CloneClient) -> Exit:
        print_one(await client.get_clone(clone_id), terms.output, clone_text)
        return Exit.OK

    run(terms, work)


def list_all(terms: Terms, *, status: str, limit: int) -> None:
    """Print clones, newest first."""

    async def work(client: CloneClient) -> Exit:
        print_many(await client.list_clones(status=status, limit=limit), terms.output, CLONE_HEADER, clone_row)
        return Exit.OK

    run(terms, work)


def open_link(terms: Terms, clone_id: str) -> None:
    """Print a one-time sign-in link, alone on its line."""

    async def work(client: CloneClient) -> Exit:
        print_one(await client.create_sign_in_link(clone_id), terms.output, lambda link: link.url)
        return Exit.OK

    run(terms, work)


def extend(terms: Terms, clone_id: str, *, until: datetime | None, by: timedelta | None) -> None:
    """Let a clone live until a moment, or for a span from now."""

    async def work(client: CloneClient) -> Exit:
        expires_at = until or datetime.now(UTC) + (by or timedelta())
        print_one(await client.extend_clone(clone_id, expires_at), terms.output, clone_text)
        return Exit.OK

    run(terms, work)


def delete(terms: Terms, clone_id: str, *, follow: bool) -> None:
    """Delete a clone, and follow the job that does it if asked to."""

    async def work(client: CloneClient) -> Exit:
        job = await client.delete_clone(clone_id)
        code = await accepted(client, terms, job, follow=follow)
        # A clone that was still being made is deleted by cancelling its job.
        return Exit.OK if job.type == "clone" and code is Exit.CANCELLED else code

    run(terms, work)
