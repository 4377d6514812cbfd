"""What the chaos tests keep beside the product's tables: a target that counts effects, and the whole history of every row.

The target is what a clone's database is to the product: it has one fence a job and refuses older ones. The history is
MariaDB's own (system versioning), complete and unseen by what is tried. Triggers would spoil the claim's LAST_INSERT_ID.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import Mariadb
from wpclone.core.store.migrate import migrate

_ID = "job_id VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
_ROW = f"id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {_ID}"
_AT = "at DECIMAL(20, 6) NOT NULL, KEY (job_id)"
_EPOCH = "'1970-01-01'"

STATEMENTS = (
    f"CREATE TABLE effects ({_ID}, step VARCHAR(64) NOT NULL, fence BIGINT NOT NULL, PRIMARY KEY (job_id, step))",
    f"CREATE TABLE effect_fences ({_ID} PRIMARY KEY, fence BIGINT NOT NULL)",
    f"CREATE TABLE effect_log ({_ROW}, step VARCHAR(64) NOT NULL, what VARCHAR(16) NOT NULL, fence BIGINT NOT NULL,"
    f" worker VARCHAR(64) NOT NULL, {_AT})",
    f"CREATE TABLE writes ({_ROW}, revision BIGINT NULL, fence BIGINT NOT NULL, name VARCHAR(32) NOT NULL,"
    f" worker VARCHAR(64) NOT NULL, {_AT})",
    # By transaction, not by time: a statement that waited for a lock seems older than the other, and its history is lost.
    """ALTER TABLE jobs ADD COLUMN begun BIGINT UNSIGNED GENERATED ALWAYS AS ROW START INVISIBLE,
         ADD COLUMN ended BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE,
         ADD PERIOD FOR SYSTEM_TIME (begun, ended), ADD SYSTEM VERSIONING""",
    "ALTER TABLE claims ADD SYSTEM VERSIONING",
    f"""CREATE VIEW job_history AS SELECT job_id, revision, fence, status, verdict, attempt, customer_id,
         TIMESTAMPDIFF(MICROSECOND, {_EPOCH}, MIN(updated_at)) / 1e6 AS at
       FROM jobs FOR SYSTEM_TIME ALL GROUP BY job_id, revision, fence, status, verdict, attempt, customer_id""",
    f"""CREATE VIEW claim_history AS SELECT job_id, fence, worker, UNIX_TIMESTAMP(MIN(row_start)) AS at,
         UNIX_TIMESTAMP(MAX(row_end)) AS gone_at, TIMESTAMPDIFF(MICROSECOND, {_EPOCH}, MAX(lease_until)) / 1e6 AS leased_until
       FROM claims FOR SYSTEM_TIME ALL GROUP BY job_id, fence, worker""",
)
"""`writes.revision` is NULL for a write that was refused as stale. All times are seconds since 1970."""


@contextmanager
def chaos_database(mariadb: Mariadb, *, history: bool = True) -> Iterator[str]:
    """A new database with the product's tables and, with `history`, the target and the history; dropped afterwards."""
    with mariadb.database() as name:
        migrate(mariadb.url(name))
        for statement in STATEMENTS if history else ():
            mariadb.execute(statement, database=name)
        yield name
