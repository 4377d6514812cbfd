"""The worker's side of the receiver in a clone's pod: sends the copied tree, then wp-config and guard, in signed requests.

The tree goes in batches of a few megabytes, directories and files first and links last; the receiver keeps it out of the site's
sight until it is whole. Every request may be repeated. Source: the comment at the top of deploy/docker/clone/receiver.php.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from workers.runtimes import Content
from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import Fatal, RetryLater
from wpclone.wordpress.blocking import blocking

SIGNATURE, TIME = "X-Wpclone-Signature", "X-Wpclone-Time"
BATCH_BYTES = 8 << 20
_PART_BYTES = 4 << 20
_SECONDS = 120.0
_TRIES = 6
_FIRST_PAUSE = 0.2


class _NotOurs(Exception):
    """Somebody answered, and not as a receiver does: the Service does not lead to the pod yet, or Apache could not run PHP."""


@dataclass(frozen=True)
class Receiver:
    """One clone's receiver. `address` is `http://host:port`."""

    address: str
    key: bytes
    clock: Clock

    async def has_site(self) -> bool:
        """Whether the site has been handed over already."""
        return bool((await self._ask("GET", "/state", b"")).get("adopted"))

    async def send(self, tree: Path, session: str) -> None:
        """Send the tree and make it the site. Raises RetryLater, and Fatal(NO_SPACE) when the clone's volume is too small."""
        await self._ask("POST", f"/tree/{session}", b"")  # from here on every other session's is refused
        batches = _batches(os.fsencode(tree))
        while batch := await blocking(next, batches, None):
            await self._ask("POST", f"/tree/{session}", batch)
        await self._ask("POST", f"/adopt/{session}", b"")

    async def give(self, content: Content) -> None:
        """Put the guard and then wp-config in place."""
        frames = [_frame("g", os.fsencode(name), data) for name, data in content.guard.items()]
        await self._ask("POST", "/content", b"".join([*frames, _frame("c", b"wp-config.php", content.wp_config)]))

    async def tell_expiry(self, expires_at: str) -> None:
        """Tell the guard when the clone ends now (RFC 3339)."""
        await self._ask("POST", "/expiry", json.dumps({"expires_at": expires_at}).encode())

    async def _ask(self, method: str, path: str, body: bytes) -> Mapping[str, Any]:
        """The answer, after a few tries: a Service leads to its pod a moment after the pod is ready."""
        broken: Exception | None = None
        for tried in range(_TRIES):
            await self.clock.sleep(_FIRST_PAUSE * 2.0 ** (tried - 1) if tried else 0.0)
            try:
                async with asyncio.timeout(_SECONDS):
                    return await self._say(method, path, body)
            except (aiohttp.ClientError, TimeoutError, OSError, _NotOurs) as error:
                broken = error
        raise RetryLater("RECEIVER_UNREACHABLE", "The clone's pod does not take files now.") from broken

    async def _say(self, method: str, path: str, body: bytes) -> Mapping[str, Any]:
        time = str(int(self.clock.now().timestamp()))
        signed = f"{method}\n{path}\n{time}\n{hashlib.sha256(body).hexdigest()}".encode()
        headers = {
            TIME: time,
            SIGNATURE: hmac.digest(self.key, signed, "sha256").hex(),
            "Content-Type": "application/octet-stream",
        }
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.request(
                method, self.address + path, data=io.BytesIO(body), headers=headers, allow_redirects=False
            ) as response,
        ):
            try:
                answer = json.loads(await response.content.read(1 << 16))
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise _NotOurs
            if response.status != 200:
                raise _refused(response.status, str(answer.get("error", "")))
            return answer


def _refused(status: int, error: str) -> Fatal | RetryLater:
    if status == 507:
        return Fatal("NO_SPACE", "The clone's volume is too small for the site.")
    if status in (400, 403):
        return Fatal("RECEIVER_REFUSED", f"The clone's pod refused the copied files: {error or status}.")
    return RetryLater("RECEIVER_FAILED", f"The clone's pod could not take the copied files: {error or status}.")


def _frame(kind: str, path: bytes, data: bytes = b"", **more: int | bool) -> bytes:
    header = {"k": kind, "p": base64.b64encode(path).decode(), "n": len(data), **more}
    return json.dumps(header, separators=(",", ":")).encode() + b"\n" + data


def _batches(root: bytes) -> Iterator[bytes]:
    """The tree's frames, packed; one batch is in memory at a time."""
    batch = bytearray()
    for frame in _frames(root):
        if batch and len(batch) + len(frame) > BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
        batch += frame
    if batch:
        yield bytes(batch)


def _frames(root: bytes) -> Iterator[bytes]:
    """Directories and files in walking order, then links: nothing is ever written through one."""
    links = []
    for directory, names, files in os.walk(root):
        base = directory[len(root) + 1 :]
        for name in sorted([*names, *files]):
            path, full = (base + b"/" if base else b"") + name, directory + b"/" + name
            status = os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                links.append((path, os.readlink(full)))
            elif stat.S_ISDIR(status.st_mode):
                yield _frame("d", path)
            elif stat.S_ISREG(status.st_mode):
                yield from _parts(path, full, status)
    for path, target in links:
        yield _frame("l", path, target)


def _parts(path: bytes, full: bytes, status: os.stat_result) -> Iterator[bytes]:
    offset, mode = 0, bool(status.st_mode & stat.S_IXUSR)
    with open(full, "rb") as file:
        while True:
            data = file.read(_PART_BYTES)
            last = offset + len(data) >= status.st_size or not data
            yield _frame("f", path, data, o=offset, x=mode, t=int(status.st_mtime), last=last)
            offset += len(data)
            if last:
                return
