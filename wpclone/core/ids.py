"""New names, from randomness that is passed in: job ids, bearer tokens, worker names."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from wpclone.core.jobs import ids
from wpclone.core.jobs.states import JobKind

Randomness = Callable[[int], bytes]
"""That many unpredictable bytes; `os.urandom` in production, a counter in tests."""
TOKEN = re.compile(r"wpc_[A-Za-z0-9_-]{43}")
TOKEN_ID = re.compile(r"[0-9a-f]{16}")


def new_job_id(kind: JobKind, randomness: Randomness) -> str:
    """A fresh id such as `clone-1a2b3c4d5e6f`; a clone's id is its job's."""
    return ids.job_id(kind, randomness(6))


def new_token(randomness: Randomness) -> str:
    """A bearer token: `wpc_` and 43 URL-safe characters, 256 bits. It is shown once and kept only as a hash."""
    return "wpc_" + base64.urlsafe_b64encode(randomness(32)).rstrip(b"=").decode()


def token_id(token_hash: bytes) -> str:
    """What a token is called: the first 16 hexadecimal digits of the hash it is kept as."""
    return token_hash[:8].hex()


def worker_name(host: str, pid: int, randomness: Randomness) -> str:
    """Who a claim belongs to: unique for each start of a process, so that a reused pid is somebody else."""
    return f"{host[:64]}-{pid}-{randomness(3).hex()}"
