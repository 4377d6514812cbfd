"""The renewal line: one blocking connection of its own, so that a blocked event loop loses no lease.

A worker's renewal thread owns it and calls nothing else. Each call ends within about 3 s, well before a lease does.
"""

from __future__ import annotations

from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import make_url

from wpclone.core.jobs.errors import StoreUnavailable
from wpclone.core.jobs.job import Renewal
from wpclone.core.store.mysql.changes import RENEW, RENEWED, renewal_values, renewals_from
from wpclone.core.store.mysql.database import SESSION
from wpclone.core.store.mysql.sql import render


class RenewalLine:
    """`renew` of the job store over a connection and a thread of its own; not for two threads at once."""

    def __init__(self, url: str, *, timeout: int = 3) -> None:
        self._url = make_url(url)
        self._timeout = timeout
        self._connection: pymysql.connections.Connection[Any] | None = None

    def renew(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """See JobStore.renew. Raises StoreUnavailable; the next call connects anew."""
        return self._asked(worker, fences, RENEW, RENEWED)

    def seen(self, worker: str, fences: dict[str, int]) -> list[Renewal]:
        """What `renew` would say, without renewing: it waits for no lock and no disk. Raises StoreUnavailable."""
        return self._asked(worker, fences, RENEWED)

    def _asked(self, worker: str, fences: dict[str, int], *statements: str) -> list[Renewal]:
        if not fences:
            return []
        values = renewal_values(worker, fences)
        try:
            with self._connected().cursor() as cursor:
                for statement in statements:
                    cursor.execute(render(statement, values))
                return renewals_from(cursor.fetchall(), fences)
        except (pymysql.err.MySQLError, OSError) as e:
            self.close()
            raise StoreUnavailable from e

    def close(self) -> None:
        """Drop the connection; idempotent."""
        if self._connection is not None:
            self._connection._force_close()  # type: ignore[attr-defined]  # close() would wait for a dead peer
            self._connection = None

    def _connected(self) -> pymysql.connections.Connection[Any]:
        if self._connection is None:
            self._connection = pymysql.connect(
                host=self._url.host or "127.0.0.1",
                port=self._url.port or 3306,
                user=self._url.username,
                password=self._url.password or "",
                database=self._url.database,
                charset="utf8mb4",
                autocommit=True,
                client_flag=CLIENT.FOUND_ROWS,
                connect_timeout=self._timeout,
                read_timeout=self._timeout,
                write_timeout=self._timeout,
            )
            with self._connection.cursor() as cursor:
                for statement in SESSION:
                    cursor.execute(statement)
        return self._connection
