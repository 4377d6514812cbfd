"""The job store in MySQL 8 or MariaDB 10.6+: the promises of `core.store`, kept by the database.

READ COMMITTED everywhere; matched rows count, not changed ones; deadlocks retry the whole transaction; every call ends in time.
"""

from __future__ import annotations

import random

from pymysql.constants import CLIENT

from wpclone.core.jobs.errors import WpcloneError
from wpclone.core.jobs.retry import Chance
from wpclone.core.store.migrations import HEAD
from wpclone.core.store.mysql.accepting import Accepting
from wpclone.core.store.mysql.changes import Changes
from wpclone.core.store.mysql.clones import Clones
from wpclone.core.store.mysql.customers import Customers
from wpclone.core.store.mysql.database import Database, StoreRefused
from wpclone.core.store.mysql.deletions import Deletions
from wpclone.core.store.mysql.reads import Reads
from wpclone.core.store.mysql.restores import Restores
from wpclone.core.store.mysql.rings import Rings


class StoreMisconfigured(WpcloneError):
    """The database does not keep what the job store promises."""

    reason = "STORE_MISCONFIGURED"


class MysqlStore(Accepting, Restores, Deletions, Changes, Rings, Clones, Customers, Reads):
    """A JobStore on MySQL; `open` makes one."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        pool_size: int = 10,
        timeout: float = 5.0,
        require_durable: bool = True,
        chance: Chance = random.random,
    ) -> MysqlStore:
        """Connect to `mysql+aiomysql://…` and check what must hold there; each call may take `timeout` seconds.

        `chance` only spreads the retries of deadlocks. Raises StoreUnavailable, StoreMisconfigured.
        """
        store = cls(Database(url, pool_size=pool_size, timeout=timeout, chance=chance))
        try:
            await store._check(require_durable)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """See JobStore.close."""
        await self._db.close()

    async def _check(self, require_durable: bool) -> None:
        if not await self._db.client_flags() & CLIENT.FOUND_ROWS:
            raise StoreMisconfigured("The driver must count matched rows, not changed ones (CLIENT_FOUND_ROWS).")
        try:
            version, durable = await self._db.read(
                "SELECT version_num FROM alembic_version",
                "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin, @@GLOBAL.sync_binlog",
            )
        except StoreRefused as e:
            raise StoreMisconfigured("The database has no tables yet: run `python -m server.admin migrate`.") from e
        if not version.rows or version.rows[0][0] < HEAD:
            raise StoreMisconfigured("The database's tables are older than this program: run `python -m server.admin migrate`.")
        flush, has_binlog, sync = durable.rows[0]
        if require_durable and (int(flush) != 1 or (int(has_binlog) and int(sync) != 1)):
            raise StoreMisconfigured(
                "Commits must be durable: set innodb_flush_log_at_trx_commit=1 and sync_binlog=1, or "
                "WPCLONE_REQUIRE_DURABLE=false where jobs may be lost."
            )
