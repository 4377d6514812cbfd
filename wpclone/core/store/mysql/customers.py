"""Customers and tokens in MySQL."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from typing import Any

from wpclone.core.ids import token_id
from wpclone.core.jobs.errors import CustomerNotFound, TokenNotFound
from wpclone.core.jobs.job import Customer, Limits, Principal, Token
from wpclone.core.store.mysql.database import Duplicate, Session
from wpclone.core.store.mysql.part import Part
from wpclone.core.store.mysql.rows import CUSTOMER_COLUMNS, NOW, aware, customer_from

_ONE = f"SELECT {CUSTOMER_COLUMNS} FROM customers WHERE customer_id = %(customer_id)s"
_CREATE = f"""INSERT INTO customers (customer_id, running_jobs, live_clones, requests_per_minute, created_at)
  VALUES (%(customer_id)s, %(running_jobs)s, %(live_clones)s, %(requests_per_minute)s, {NOW})"""
_LIMIT = """UPDATE customers SET running_jobs = %(running_jobs)s, live_clones = %(live_clones)s,
  requests_per_minute = %(requests_per_minute)s WHERE customer_id = %(customer_id)s"""
_ADD_TOKEN = f"""INSERT INTO tokens (token_hash, customer_id, is_admin, created_at)
  SELECT %(token_hash)s, customer_id, %(is_admin)s, {NOW} FROM customers WHERE customer_id = %(customer_id)s"""
_TOKENS = """SELECT token_hash, customer_id, is_admin, created_at FROM tokens
  WHERE %(customer_id)s IS NULL OR customer_id = %(customer_id)s ORDER BY created_at, token_hash"""
_WITHDRAW = "DELETE FROM tokens WHERE LEFT(token_hash, 8) = UNHEX(%(token_id)s)"
_WHO = "SELECT customer_id, is_admin FROM tokens WHERE token_hash = %(token_hash)s"


class Customers(Part):
    """Who may ask."""

    async def create_customer(self, customer_id: str, limits: Limits) -> Customer:
        """See JobStore.create_customer."""
        try:
            await self._db.transact(lambda session: session.run(_CREATE, commit=True, **_values(customer_id, limits)))
        except Duplicate:
            return await self._customer(customer_id)
        return await self._customer(customer_id)

    async def get_customer(self, customer_id: str) -> Customer | None:
        """See JobStore.get_customer."""
        (found,) = await self._db.read(_ONE, customer_id=customer_id)
        return customer_from(found.rows[0]) if found.rows else None

    async def set_limits(self, customer_id: str, limits: Limits) -> Customer:
        """See JobStore.set_limits."""
        await self._db.read(_LIMIT, **_values(customer_id, limits))
        return await self._customer(customer_id)

    async def add_token(self, token_hash: bytes, principal: Principal) -> None:
        """See JobStore.add_token."""

        async def work(session: Session) -> None:
            (added,) = await session.run(
                _ADD_TOKEN, token_hash=token_hash, customer_id=principal.customer_id, is_admin=int(principal.is_admin)
            )
            if not added.matched:
                raise CustomerNotFound

        await self._db.transact(work)

    async def tokens(self, *, customer_id: str | None) -> list[Token]:
        """See JobStore.tokens."""
        (found,) = await self._db.read(_TOKENS, customer_id=customer_id)
        return [Token(token_id(key), Principal(whose, bool(is_admin)), aware(at)) for key, whose, is_admin, at in found.rows]

    async def withdraw_token(self, token_id: str) -> None:
        """See JobStore.withdraw_token."""
        (withdrawn, *_) = await self._db.transact(lambda session: session.run(_WITHDRAW, commit=True, token_id=token_id))
        if not withdrawn.matched:
            raise TokenNotFound

    async def who(self, token_hash: bytes) -> Principal | None:
        """See JobStore.who."""
        (found,) = await self._db.read(_WHO, token_hash=token_hash)
        return Principal(found.rows[0][0], bool(found.rows[0][1])) if found.rows else None

    async def _customer(self, customer_id: str) -> Customer:
        customer = await self.get_customer(customer_id)
        if customer is None:
            raise CustomerNotFound
        return customer


def _values(customer_id: str, limits: Limits) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "running_jobs": limits.running_jobs,
        "live_clones": limits.live_clones,
        "requests_per_minute": limits.requests_per_minute,
    }
