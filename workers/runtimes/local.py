"""Clones on this machine, hosted by the keeper: the one process with root, spoken to over a unix socket.

The protocol is newline-delimited JSON, one connection a call; a verb goes on when its connection drops, and is repeatable.
Source: the module docstring of `wpclone.standalone.keeper`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from workers.runtimes import Content, Place, Tell, quietly
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.core.jobs.view import from_rfc3339, rfc3339
from wpclone.wordpress.errors import FencedOff
from wpclone.wordpress.near_files import Brought

_SECONDS = {"bring": 900.0, "share_table": 600.0, "adopt": 300.0, "delete": 300.0, "serve": 120.0}
_OTHER_SECONDS = 60.0
_LONGEST_LINE = 8 << 20
_FINAL = frozenset(
    {
        "BAD_REQUEST", "UNKNOWN_VERB", "INVALID_CLONE_ID", "NOT_FOUND", "NOT_ADOPTED", "ADOPTED", "DELETING", "UNSAFE_FILE",
        "NO_SPACE",
    }
)  # fmt: skip
"""The keeper's reasons that waiting does not cure."""


class LocalRuntime:
    """The `local` runtime behind one keeper's socket."""

    name = "local"

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def create(self, clone_id: str) -> Place:
        """See Runtime.create."""
        return _place(await self._ask("create", clone_id=clone_id))

    async def ready(self, clone_id: str, tell: Tell = quietly) -> Place:
        """See Runtime.ready; a local place takes content at once."""
        return _place(await self._ask("describe", clone_id=clone_id))

    async def expose(self, clone_id: str, content: Content, tell: Tell = quietly) -> Place:
        """See Runtime.expose."""
        guard = {name: base64.b64encode(data).decode() for name, data in content.guard.items()}
        wp_config = base64.b64encode(content.wp_config).decode()
        await self._ask("adopt", clone_id=clone_id, wp_config=wp_config, guard=guard)
        return _place(await self._ask("serve", clone_id=clone_id))

    async def describe(self, clone_id: str) -> Place | None:
        """See Runtime.describe."""
        try:
            return _place(await self._ask("describe", clone_id=clone_id))
        except Fatal as error:
            if error.code == "NOT_FOUND":
                return None
            raise

    async def bring(self, clone_id: str, source: str, into: str, paths: Sequence[bytes]) -> list[Brought]:
        """Copy files of the clone `source`, by paths in its docroot, to `into` in the staging of one that is being made."""
        encoded = [base64.b64encode(path).decode() for path in paths]
        answer = await self._ask("bring", clone_id=clone_id, source=source, into=into, paths=encoded)
        return [Brought(state == "ok", size, mtime) for state, size, mtime in answer["files"]]

    async def share_table(self, clone_id: str, source: str, table: str, fence: int, most: int) -> str:
        """Give the empty table of a clone that is being made what the clone `source` has in its own; why not, if not.

        No file of more than `most` bytes. Raises FencedOff when another claim than `fence` fills the database.
        """
        try:
            answer = await self._ask("share_table", clone_id=clone_id, source=source, table=table, fence=fence, most=most)
        except RetryLater as error:
            if error.code == "STALE":
                raise FencedOff(error.message) from None
            raise
        return str(answer["why_not"])

    async def delete(self, clone_id: str) -> None:
        """See Runtime.delete."""
        await self._ask("delete", clone_id=clone_id)

    async def forget(self, clone_id: str) -> None:
        """See Runtime.forget: the keeper keeps no record of a clone that it has deleted."""

    async def list(self) -> list[Place]:
        """See Runtime.list."""
        return [_place(site) for site in (await self._ask("list"))["clones"]]

    async def extend(self, clone_id: str, expires_at: datetime) -> None:
        """See Runtime.extend."""
        await self._ask("extend", clone_id=clone_id, expires_at=rfc3339(expires_at))

    async def _ask(self, verb: str, **args: Any) -> dict[str, Any]:
        """The keeper's answer. Raises RetryLater or Fatal with its reason."""
        request = json.dumps({"id": verb, "verb": verb, "args": args}).encode() + b"\n"
        if len(request) > _LONGEST_LINE:
            raise Fatal("CONTENT_TOO_LARGE", "The clone's configuration is too large for its keeper.")
        try:
            async with asyncio.timeout(_SECONDS.get(verb, _OTHER_SECONDS)):
                answer = json.loads(await self._say(request))
        except TimeoutError:
            raise RetryLater("KEEPER_SLOW", f"The keeper of local clones did not finish `{verb}` in time.") from None
        except (OSError, ValueError) as error:
            raise RetryLater(
                "KEEPER_UNAVAILABLE", "The keeper of local clones does not answer; is `wpclone up` running?"
            ) from error
        if not answer.get("ok"):
            raise _refused(answer.get("error") or {})
        result: dict[str, Any] = answer["result"]
        return result

    async def _say(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=_LONGEST_LINE)
        try:
            writer.write(request)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


def _refused(error: Mapping[str, str]) -> Fatal | RetryLater:
    reason, message = error.get("reason", "INTERNAL"), error.get("message", "The keeper gave no reason.")
    return Fatal(reason, message) if reason in _FINAL else RetryLater(reason, message)


def _place(site: Mapping[str, Any]) -> Place:
    return Place(
        clone_id=site["clone_id"],
        url=site["url"],
        docroot=site["docroot"],
        staging=Path(site["staging"]),
        guard_state=site["guard_state_dir"],
        database_host=site["database_host"],
        database_port=site["database_port"],
        egress=site["egress"],
        is_serving=site["state"] == "serving",
        expires_at=from_rfc3339(site["expires_at"]) if site.get("expires_at") else None,
    )
