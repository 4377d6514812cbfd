"""What the `wpclone restore` commands do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wpclone.cli.exits import Exit
from wpclone.cli.jobs import accepted
from wpclone.cli.session import Terms, run
from wpclone.client import CloneClient
from wpclone.v2 import site_pb2
from wpclone.v2.clone_service_pb2 import CreateRestoreRequest


@dataclass(frozen=True)
class Choices:
    """What of the content is brought, and how conflicts are resolved."""

    preserve_plugins: bool
    preserve_themes: bool
    preserve: Sequence[str]
    tables: Sequence[str]
    paths: Sequence[str]
    conflict_policy: str
    dry_run: bool


def order(clone_id: str, target: site_pb2.SourceSite, choices: Choices) -> CreateRestoreRequest:
    """One request; without a clone its `source` is to be filled in."""
    return CreateRestoreRequest(
        clone_id=clone_id, target=target, preserve_plugins=choices.preserve_plugins, preserve_themes=choices.preserve_themes,
        preserve=choices.preserve, tables=choices.tables, paths=choices.paths, conflict_policy=choices.conflict_policy,
        dry_run=choices.dry_run,
    )  # fmt: skip


def create(terms: Terms, request: CreateRestoreRequest, *, follow: bool) -> None:
    """Ask for a restore, and follow it if asked to."""

    async def work(client: CloneClient) -> Exit:
        return await accepted(client, terms, await client.create_restore(request), follow=follow)

    run(terms, work)


def leave(terms: Terms, restore_id: str, *, is_rollback: bool, follow: bool) -> None:
    """Ask for a restore's rollback or release, and follow it if asked to."""

    async def work(client: CloneClient) -> Exit:
        ask = client.rollback_restore if is_rollback else client.release_restore
        return await accepted(client, terms, await ask(restore_id), follow=follow)

    run(terms, work)
