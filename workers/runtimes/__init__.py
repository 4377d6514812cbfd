"""Where clones live: one protocol; `local`, `kubernetes` and `memory` implement it, judged by one contract suite.

A runtime makes places and serves them; it copies nothing, knows no jobs and writes no store. Every call is repeatable and may
be killed at any point. All raise RetryLater when waiting may help and Fatal when it won't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from wpclone.core.jobs.errors import Fatal


@dataclass(frozen=True)
class Place:
    """What a runtime has made for one clone.

    `url` is stable for the clone's life. `docroot` and `guard_state` are paths as the clone's PHP sees them; `staging` is where
    a worker writes copied files (None when it writes them another way). `database_host` and `database_port` are the only MySQL
    the clone can reach. `egress` says in words what holds its outbound traffic. `expires_at` is the runtime's own deadline.
    `is_ended`: it was taken away, by whomever, and will not come back; only its record is left, until `forget`.
    """

    clone_id: str
    url: str
    docroot: str
    staging: Path | None
    guard_state: str
    database_host: str
    database_port: int
    egress: str
    is_serving: bool = False
    expires_at: datetime | None = None
    is_ended: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON values for `job_steps` facts: what later steps and the result need."""
        return {"url": self.url, "docroot": self.docroot, "egress": self.egress}


@dataclass(frozen=True)
class Content:
    """What a clone gets beside its copied files: its wp-config and the guard's files, by name."""

    wp_config: bytes
    guard: Mapping[str, bytes]


Tell = Callable[[str], None]
"""Takes a sentence for people about what is being waited for. Cheap, from the event loop's thread."""


def quietly(sentence: str) -> None:
    """Tell nobody."""


class Runtime(Protocol):
    """Places for clones."""

    @property
    def name(self) -> str:
        """`local` or `kubernetes`, as in `clones.runtime`."""

    async def create(self, clone_id: str) -> Place:
        """Make the place, or find it. Nothing is served yet and nothing reachable. Its staging takes files while it comes up."""

    async def ready(self, clone_id: str, tell: Tell = quietly) -> Place:
        """The place once it takes content; RetryLater while it does not. `tell` hears meanwhile what it waits for; an empty
        sentence takes back what it heard."""

    async def expose(self, clone_id: str, content: Content, tell: Tell = quietly) -> Place:
        """Hand over the copied files, put wp-config and guard in place, serve, and return when it answers at its URL.

        Again with other content: only that content is replaced. `tell` hears what the place waits for, if it is not ready yet.
        """

    async def describe(self, clone_id: str) -> Place | None:
        """The place as it is now, or None."""

    async def delete(self, clone_id: str) -> None:
        """Stop and remove everything of the clone's; success when it has gone already. A record of it may stay until `forget`."""

    async def forget(self, clone_id: str) -> None:
        """The clone's database has gone too: let go of the record that held its place; success when there is none."""

    async def list(self) -> list[Place]:
        """All places there are, for the sweep; also those of which only the record is left."""

    async def extend(self, clone_id: str, expires_at: datetime) -> None:
        """Tell the place when the clone expires now. A runtime that ends clones by itself does so 10 minutes later at the
        earliest: deleting is the service's own job."""


async def place_of(runtime: Runtime, clone_id: str) -> Place:
    """The clone's place as it is now, whether it takes content yet or not. Raises Fatal(NOT_FOUND)."""
    place = await runtime.describe(clone_id)
    if place is None:
        raise Fatal("NOT_FOUND", f"The place of {clone_id} has gone.")
    return place
