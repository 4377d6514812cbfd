"""Idempotency in MySQL: what the first request with a key got."""

# ruff: noqa: S608 - statements are made of our own constants; values are always parameters

from __future__ import annotations

from typing import Any

from wpclone.core.jobs.errors import RequestIdReused
from wpclone.core.jobs.job import RequestKey
from wpclone.core.store import REQUESTS_KEPT
from wpclone.core.store.mysql.database import Result, Session
from wpclone.core.store.mysql.rows import NOW

FIND = f"""SELECT body_hash, resource_id FROM requests WHERE customer_id = %(key_customer)s AND method = %(key_method)s
  AND request_id = %(key_request)s AND created_at > {NOW} - INTERVAL %(requests_kept)s SECOND"""
FORGET = f"""DELETE FROM requests WHERE customer_id = %(key_customer)s AND method = %(key_method)s
  AND request_id = %(key_request)s AND created_at <= {NOW} - INTERVAL %(requests_kept)s SECOND"""
_COLUMNS = "INSERT INTO requests (customer_id, method, request_id, body_hash, resource_id, created_at)"
_VALUES = f"%(key_customer)s, %(key_method)s, %(key_request)s, %(key_hash)s, %(resource_id)s, {NOW}"
KEEP = f"{_COLUMNS} VALUES ({_VALUES})"
KEEP_WITH_JOB = f"{_COLUMNS} SELECT {_VALUES} FROM jobs WHERE job_id = %(resource_id)s"
"""Like KEEP, if the job was inserted."""


def key_values(key: RequestKey) -> dict[str, Any]:
    """The parameters of these statements besides `resource_id`."""
    return {
        "key_customer": key.customer_id,
        "key_method": key.method,
        "key_request": key.request_id,
        "key_hash": key.body_hash,
        "requests_kept": REQUESTS_KEPT.total_seconds(),
    }


def answer_in(found: Result, key: RequestKey) -> str | None:
    """The resource that FIND found. Raises RequestIdReused when its body was another."""
    if not found.rows:
        return None
    body_hash, resource_id = found.rows[0]
    if bytes(body_hash) != key.body_hash:
        raise RequestIdReused
    return str(resource_id)


async def answered(session: Session, key: RequestKey | None) -> str | None:
    """The resource that the first request with this key got, or None; an outlived answer is forgotten."""
    if key is None:
        return None
    values = key_values(key)
    _, found = await session.run(FORGET, FIND, **values)
    return answer_in(found, key)


async def keep(session: Session, key: RequestKey | None, resource_id: str) -> None:
    """Keep what this key got. Raises Duplicate when another transaction was first."""
    if key is not None:
        await session.run(KEEP, resource_id=resource_id, **key_values(key))
