"""Customers and tokens in memory."""

from __future__ import annotations

from dataclasses import replace

from wpclone.core.jobs.job import Customer, Limits, Principal
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
        self._shelves.now()
        self._shelves.customer(principal.customer_id)
        self._shelves.tokens[token_hash] = principal

    async def who(self, token_hash: bytes) -> Principal | None:
        """See JobStore.who."""
        self._shelves.now()
        return self._shelves.tokens.get(token_hash)
