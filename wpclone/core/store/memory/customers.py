"""Customers and tokens in memory."""

from __future__ import annotations

from dataclasses import replace

from wpclone.core.ids import token_id
from wpclone.core.jobs.errors import TokenNotFound
from wpclone.core.jobs.job import Customer, Limits, Principal, Token
from wpclone.core.store.memory.shelves import Part


class Customers(Part):
    """Who may ask."""

    async def create_customer(self, customer_id: str, limits: Limits) -> Customer:
        """See JobStore.create_customer."""
        return self._shelves.customers.setdefault(customer_id, Customer(customer_id, limits, self._shelves.now()))

    async def get_customer(self, customer_id: str) -> Customer | None:
        """See JobStore.get_customer."""
        self._shelves.now()
        return self._shelves.customers.get(customer_id)

    async def set_limits(self, customer_id: str, limits: Limits) -> Customer:
        """See JobStore.set_limits."""
        self._shelves.now()
        changed = replace(self._shelves.customer(customer_id), limits=limits)
        self._shelves.customers[customer_id] = changed
        return changed

    async def add_token(self, token_hash: bytes, principal: Principal) -> None:
        """See JobStore.add_token."""
        self._shelves.customer(principal.customer_id)
        self._shelves.tokens[token_hash] = Token(token_id(token_hash), principal, self._shelves.now())

    async def tokens(self, *, customer_id: str | None) -> list[Token]:
        """See JobStore.tokens."""
        self._shelves.now()
        found = [token for token in self._shelves.tokens.values() if customer_id in (None, token.principal.customer_id)]
        return sorted(found, key=lambda token: (token.created_at, token.token_id))

    async def withdraw_token(self, token_id: str) -> None:
        """See JobStore.withdraw_token."""
        self._shelves.now()
        kept = {key: token for key, token in self._shelves.tokens.items() if token.token_id != token_id}
        if len(kept) == len(self._shelves.tokens):
            raise TokenNotFound
        self._shelves.tokens = kept

    async def who(self, token_hash: bytes) -> Principal | None:
        """See JobStore.who."""
        self._shelves.now()
        token = self._shelves.tokens.get(token_hash)
        return token.principal if token is not None else None
