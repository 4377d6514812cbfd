"""One-time sign-in links: made with the clone's guard key, which never leaves this process in the clear."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from server import render
from wpclone.core.clock import Clock
from wpclone.core.ids import Randomness
from wpclone.core.jobs.errors import CloneNotReady
from wpclone.core.jobs.job import Clone
from wpclone.core.jobs.states import CloneState
from wpclone.core.secrets import KeyRing
from wpclone.core.sign_in import VALIDITY, sign_in_url
from wpclone.v2 import clone_pb2


@dataclass(frozen=True)
class SignIn:
    """Makes links."""

    keys: KeyRing
    clock: Clock
    randomness: Randomness

    def link(self, clone: Clone) -> clone_pb2.SignInLink:
        """A new link for the clone's administrator. Raises CloneNotReady, SecretsUnreadable."""
        now = self.clock.now()
        is_over = clone.expires_at is not None and clone.expires_at <= now
        if clone.state is not CloneState.READY or is_over or clone.guard_key is None:
            raise CloneNotReady(metadata={"status": clone.state.value})
        key = self.keys.decrypt(clone.guard_key, clone.clone_id)
        nonce = base64.urlsafe_b64encode(self.randomness(18)).decode()
        url = sign_in_url(clone.url, key, clone.clone_id, clone.admin_login, now, nonce)
        return clone_pb2.SignInLink(url=url, expires_at=render.moment(now + VALIDITY), username=clone.admin_login)
