"""The part of the machine that keeps root: it hosts clones for a worker that has none, over a unix socket.

The socket is 0600 and the service's; whoever connects must be the service or root (SO_PEERCRED, unix(7)). It speaks
newline-delimited JSON: `{id, verb, args}` in, `{id, ok, result | error{reason, message}}` out, several at a time on one
connection, in any order. A dropped connection stops nothing: verbs are repeatable, and the caller asks again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import fcntl
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from wpclone.standalone.clone_hosting import CloneHosting, HostingPlace, Refused
from wpclone.standalone.clone_sites import NoFreePort, NoFreeUid
from wpclone.standalone.firewall import FirewallFailed
from wpclone.standalone.site_files import UnsafeFile

_LOG = logging.getLogger(__name__)
_LONGEST_LINE = 8 * 1024 * 1024
_REASONS: dict[type[Exception], str] = {
    NoFreeUid: "NO_FREE_UID",
    NoFreePort: "NO_FREE_PORT",
    FirewallFailed: "FIREWALL_FAILED",
    UnsafeFile: "UNSAFE_FILE",
}

Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class CannotKeep(RuntimeError):
    """The keeper cannot start here; the message says why and what to do."""


@dataclass(frozen=True)
class KeeperPlace:
    """The keeper's socket and what it hosts. `locks` is a directory all runs on this machine share, root's."""

    socket: Path
    hosting: HostingPlace
    locks: Path


class Keeper:
    """The socket and its dispatch. Raises CannotKeep at start when the uids or the socket are another run's."""

    def __init__(self, place: KeeperPlace) -> None:
        self._place = place
        self._hosting = CloneHosting(place.hosting)
        self._server: asyncio.Server | None = None
        self._lock: IO[bytes] | None = None
        self._verbs: set[asyncio.Task[None]] = set()
        self._dispatch: dict[str, Verb] = {
            "create": lambda args: self._hosting.create(_text(args, "clone_id")),
            "bring": self._bring,
            "share_table": self._share_table,
            "adopt": self._adopt,
            "serve": lambda args: self._hosting.serve(_text(args, "clone_id")),
            "describe": lambda args: self._hosting.describe(_text(args, "clone_id")),
            "list": lambda _: self._hosting.list(),
            "extend": lambda args: self._hosting.extend(_text(args, "clone_id"), _text(args, "expires_at")),
            "delete": lambda args: self._hosting.delete(_text(args, "clone_id")),
        }

    @property
    def hosting(self) -> CloneHosting:
        """The clones, for whoever runs the keeper in the same process."""
        return self._hosting

    async def start(self) -> None:
        """Bring live clones back and listen. Raises CannotKeep, FirewallFailed, OSError."""
        hosting = self._place.hosting
        if hosting.isolated and os.getuid() != 0:
            raise CannotKeep(
                "clones are kept apart by uids and nftables, which needs root: start as root, or set WPCLONE_LOCAL_ISOLATION=none"
            )
        hosting.state.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock = await asyncio.to_thread(self._take_uids)
        try:
            await self._hosting.start()
            self._place.socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve_peer, path=self._place.socket, limit=_LONGEST_LINE)
            hosting.service.own(self._place.socket)
            self._place.socket.chmod(0o600)
        except BaseException:
            self._lock.close()
            raise

    def _take_uids(self) -> IO[bytes]:
        """Hold the range of uids (without isolation: the state directory) as long as this process lives."""
        hosting = self._place.hosting
        if hosting.isolated:
            self._place.locks.mkdir(mode=0o755, parents=True, exist_ok=True)
            path = self._place.locks / f"uids-{hosting.uids.start}.lock"
        else:
            path = hosting.state / "keeper.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        lock = os.fdopen(fd, "r+b", buffering=0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise CannotKeep(
                f"another run holds {path}: stop it, or give this one another state directory (WPCLONE_STATE_DIR), "
                "whose name chooses its uids"
            ) from None
        return lock

    async def stop(self) -> None:
        """Stop listening, let running verbs end, end all web servers. Records and files stay."""
        if self._server:
            self._server.close()
        if self._verbs:
            await asyncio.wait(self._verbs, timeout=30)
        await self._hosting.stop()
        self._place.socket.unlink(missing_ok=True)
        if self._lock:
            self._lock.close()

    async def _serve_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: set[asyncio.Task[None]] = set()
        try:
            if not self._welcome(writer):
                return
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(line, writer), name="keeper verb")
                for tasks in (mine, self._verbs):
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            # A peer that has shut its side for writing still reads the answers under way.
            if mine:
                await asyncio.wait(mine)
        except (ValueError, OSError) as error:
            _LOG.warning("a connection to the keeper ended: %s", error)
        finally:
            writer.close()

    def _welcome(self, writer: asyncio.StreamWriter) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if uid in {0, self._place.hosting.service.uid}:
            return True
        _LOG.warning("uid %d may not speak to the keeper", uid)
        return False

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        request_id: object = None
        try:
            request = _object(line)
            request_id = request.get("id")
            answer = {"id": request_id, "ok": True, "result": await self._do(request)}
        except Exception as error:
            answer = {"id": request_id, "ok": False, "error": _error(error)}
        if not writer.is_closing():
            writer.write(json.dumps(answer).encode() + b"\n")

    async def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = self._dispatch.get(str(request.get("verb")))
        args = request.get("args", {})
        if verb is None:
            raise Refused("UNKNOWN_VERB", f"the keeper knows {', '.join(sorted(self._dispatch))}")
        if not isinstance(args, dict):
            raise Refused("BAD_REQUEST", "args must be an object")
        return await verb(args)

    async def _bring(self, args: dict[str, Any]) -> dict[str, Any]:
        paths = args.get("paths")
        if not isinstance(paths, list):
            raise Refused("BAD_REQUEST", "paths must be a list of base64")
        decoded = [_bytes({"paths": path}, "paths") for path in paths]
        return await self._hosting.bring(_text(args, "clone_id"), _text(args, "source"), _text(args, "into"), decoded)

    async def _share_table(self, args: dict[str, Any]) -> dict[str, Any]:
        source, table = _text(args, "source"), _text(args, "table")
        numbers = {name: _number(args, name) for name in ("fence", "most")}
        return await self._hosting.share_table(_text(args, "clone_id"), source, table, **numbers)

    async def _adopt(self, args: dict[str, Any]) -> dict[str, Any]:
        guard = args.get("guard")
        if not isinstance(guard, dict):
            raise Refused("BAD_REQUEST", "guard must be an object of base64 files")
        path = _text(args, "wp_config_path") if "wp_config_path" in args else "wp-config.php"
        files = {name: _bytes(guard, name) for name in guard}
        return await self._hosting.adopt(_text(args, "clone_id"), _bytes(args, "wp_config"), path, files)


def _error(error: Exception) -> dict[str, str]:
    """What the peer is told. What nobody foresaw is logged in full and told in one word."""
    if isinstance(error, Refused):
        return {"reason": error.reason, "message": str(error)}
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return {"reason": "NO_SPACE", "message": "the disk of the clones is full"}
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return {"reason": reason, "message": str(error)}
    _LOG.error("a verb failed", exc_info=error)
    return {"reason": "INTERNAL", "message": f"the keeper failed ({type(error).__name__}); its log says more"}


def _object(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise Refused("BAD_REQUEST", "a request is one line with a JSON object")
    return request


def _number(args: dict[str, Any], name: str) -> int:
    value = args.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refused("BAD_REQUEST", f"{name} must be a number")
    return value


def _text(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise Refused("BAD_REQUEST", f"{name} must be a text")
    return value


def _bytes(args: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_text(args, name), validate=True)
    except binascii.Error:
        raise Refused("BAD_REQUEST", f"{name} must be base64") from None
