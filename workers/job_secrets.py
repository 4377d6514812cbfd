"""A job's secrets, decrypted when a step first asks and never before.

The server stores one encrypted JSON object per job: a seed, and how to reach the source. Everything secret of the clone is
derived from the seed, so a step that runs again finds the same passwords.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, Protocol, Self

from wpclone.core.jobs.errors import Fatal
from wpclone.core.jobs.job import Job
from wpclone.core.secrets import SecretsUnreadable, derive, password


class Decrypter(Protocol):
    """What a key ring does for us."""

    def decrypt(self, blob: bytes, context: str) -> bytes:
        """The plain bytes. Raises SecretsUnreadable."""


class JobSecrets:
    """The secrets of one job. Every access may raise Fatal(SECRETS_UNREADABLE): without the key no attempt can succeed."""

    def __init__(self, job: Job, keys: Decrypter) -> None:
        self._job = job
        self._keys = keys

    def __repr__(self) -> str:
        return f"JobSecrets({self._job.job_id})"

    @property
    def source(self) -> dict[str, Any]:
        """`{"username", "password"}` or `{"agent_key"}`."""
        return dict(self.content["source"])

    @property
    def database_password(self) -> str:
        """The password of the clone's database user."""
        return password(self._seed, "database")

    @property
    def admin_password(self) -> str:
        """The password the guard signs its owner in with."""
        return password(self._seed, "admin")

    @property
    def agent_key(self) -> bytes:
        """The key of the agent we install: 32 bytes."""
        return derive(self._seed, "agent")

    @property
    def agent_folder(self) -> str:
        """The unguessable name of the agent's plugin folder."""
        return f"wpc-{derive(self._seed, 'agent-folder').hex()[:24]}"

    @property
    def salts(self) -> bytes:
        """What the clone's WordPress salts derive from: 32 bytes."""
        return derive(self._seed, "salts")

    @cached_property
    def _seed(self) -> bytes:
        return bytes.fromhex(self.content["seed"])

    def derived(self, purpose: str) -> bytes:
        """32 bytes that follow from the job's seed, different for each purpose."""
        return derive(self._seed, purpose)

    @classmethod
    def like(cls, other: JobSecrets) -> Self:
        """The same job's secrets, seen as this class shows them."""
        return cls(other._job, other._keys)

    @cached_property
    def content(self) -> dict[str, Any]:
        """All of it."""
        if self._job.secrets is None:
            raise Fatal("SECRETS_UNREADABLE", "The job carries no secrets; ask for it again.")
        try:
            content: dict[str, Any] = json.loads(self._keys.decrypt(self._job.secrets, self._job.job_id))
        except SecretsUnreadable as error:
            raise Fatal("SECRETS_UNREADABLE", "The job's secrets cannot be read with this service's key ring.") from error
        return content
