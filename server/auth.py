"""Who is asking, and whose things they may see. A token is looked up by its keyed hash; another's job does not exist."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from wpclone.core.clock import Clock
from wpclone.core.jobs.errors import NotFound, PermissionDenied, Unauthenticated
from wpclone.core.jobs.job import Clone, Job, Principal
from wpclone.core.jobs.states import Priority
from wpclone.core.store import JobStore

KNOWN_FOR = 10.0
"""Seconds a token's answer is kept; a withdrawn one works no longer than that."""
UNKNOWN_FOR = 1.0
"""The same for a token nobody knows: it may be about to be made."""
MOST_KNOWN = 10_000
LONGEST_TOKEN = 256

T = TypeVar("T", Job, Clone)


@dataclass(frozen=True)
class _Known:
    principal: Principal | None
    until: float


class Auth:
    """Answers who a call's bearer token speaks for."""

    def __init__(self, store: JobStore, token_hash: Callable[[str], bytes], clock: Clock) -> None:
        self._store = store
        self._hash = token_hash
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def who(self, metadata: Iterable[tuple[str, Any]] | None) -> Principal:
        """The principal of a call by its metadata. Raises Unauthenticated, StoreUnavailable."""
        key = self._hash(_bearer(metadata or ()))
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is None or known.until <= now:
            principal = await self._store.who(key)
            known = _Known(principal, now + (KNOWN_FOR if principal is not None else UNKNOWN_FOR))
            self._keep(key, known)
        if known.principal is None:
            raise Unauthenticated
        return known.principal

    def _keep(self, key: bytes, known: _Known) -> None:
        self._known.pop(key, None)
        self._known[key] = known
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def customer_for(who: Principal, named: str) -> str:
    """For whom something is asked: the token's customer unless an administrator names another. Raises PermissionDenied."""
    if named and named != who.customer_id and not who.is_admin:
        raise PermissionDenied("Only an administrator's token may name another customer; leave customer_id out.")
    return named or who.customer_id


def check_priority(who: Principal, asked: Priority) -> None:
    """High goes before everybody's normal jobs, so only an administrator may ask for it. Raises PermissionDenied."""
    if asked is Priority.HIGH and not who.is_admin:
        raise PermissionDenied("Only an administrator's token may ask for high priority.")


def customers_seen(who: Principal, named: str) -> str | None:
    """Whose things a listing shows; None: everybody's. Raises PermissionDenied."""
    return None if who.is_admin and not named else customer_for(who, named)


def seen(who: Principal, thing: T | None, missing: type[NotFound]) -> T:
    """The job or clone when there is one and `who` may see it. Raises `missing`, the same in both cases."""
    if thing is None or (thing.customer_id != who.customer_id and not who.is_admin):
        raise missing
    return thing


def _bearer(metadata: Iterable[tuple[str, Any]]) -> str:
    values = [value for name, value in metadata if name == "authorization"]
    if len(values) != 1 or not isinstance(values[0], str):
        raise Unauthenticated
    scheme, _, token = values[0].partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN:
        raise Unauthenticated
    return token
