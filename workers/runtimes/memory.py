"""A runtime of directories: the promises of `workers.runtimes`, kept in one process, serving nothing. For tests."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from workers.runtimes import Content, Place, Tell, quietly
from wpclone.core.jobs.errors import Fatal


class MemoryRuntime:
    """Places below one directory."""

    name = "local"

    def __init__(self, directory: Path, *, database_port: int = 3306) -> None:
        self._directory = directory
        self._database_port = database_port
        self._places: dict[str, Place] = {}
        self.content: dict[str, Content] = {}

    async def create(self, clone_id: str) -> Place:
        """See Runtime.create."""
        if clone_id not in self._places:
            root = self._directory / clone_id
            (root / "staging").mkdir(parents=True, exist_ok=True)
            self._places[clone_id] = Place(
                clone_id, f"http://{clone_id}.localhost:8080", str(root / "docroot"), root / "staging", str(root / "guard-state"),
                "127.0.0.1", self._database_port, "nothing runs here",
            )  # fmt: skip
        return self._places[clone_id]

    async def ready(self, clone_id: str, tell: Tell = quietly) -> Place:
        """See Runtime.ready."""
        return self._known(clone_id)

    async def expose(self, clone_id: str, content: Content, tell: Tell = quietly) -> Place:
        """See Runtime.expose."""
        self.content[clone_id] = content
        self._places[clone_id] = replace(self._known(clone_id), is_serving=True)
        return self._places[clone_id]

    async def describe(self, clone_id: str) -> Place | None:
        """See Runtime.describe."""
        return self._places.get(clone_id)

    async def delete(self, clone_id: str) -> None:
        """See Runtime.delete."""
        self._places.pop(clone_id, None)
        self.content.pop(clone_id, None)
        shutil.rmtree(self._directory / clone_id, ignore_errors=True)

    async def forget(self, clone_id: str) -> None:
        """See Runtime.forget: nothing is left to forget."""

    async def list(self) -> list[Place]:
        """See Runtime.list."""
        return list(self._places.values())

    async def extend(self, clone_id: str, expires_at: datetime) -> None:
        """See Runtime.extend."""
        self._places[clone_id] = replace(self._known(clone_id), expires_at=expires_at)

    def _known(self, clone_id: str) -> Place:
        try:
            return self._places[clone_id]
        except KeyError:
            raise Fatal("NOT_FOUND", f"There is no {clone_id} here.") from None
