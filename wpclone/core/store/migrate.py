"""Bring the job store's tables up to date: Alembic under one lock, so that replicas that start together take turns."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from wpclone.core.jobs.errors import StoreUnavailable

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_SECONDS = 120


def migrate(url: str, *, revision: str = "head") -> None:
    """Run what is missing up to `revision` on `mysql+aiomysql://…`; nothing when nothing is. Blocks; for a command, not a loop.

    Raises StoreUnavailable when the database does not answer, refuses, or another migration takes longer than 2 minutes.
    """
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="mysql+pymysql"),
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"connect_timeout": 5, "read_timeout": 600, "write_timeout": 60},
    )
    try:
        with engine.connect() as connection:
            _locked(connection, revision)
    except DBAPIError as e:
        # str(e) could quote parameters; the driver's own sentence does not.
        raise StoreUnavailable(f"The tables could not be brought up to date: {e.orig}") from e
    finally:
        engine.dispose()


def heads() -> tuple[str, ...]:
    """The newest revisions there are; one, always."""
    return tuple(ScriptDirectory.from_config(_config()).get_heads())


def _locked(connection: sa.Connection, revision: str) -> None:
    lock = {"name": sa.text("CONCAT('wpclone.migrate.', DATABASE())"), "seconds": _LOCK_SECONDS}
    got = connection.execute(sa.select(sa.func.get_lock(lock["name"], lock["seconds"]))).scalar()
    if got != 1:
        raise StoreUnavailable("Another migration is still running.")
    try:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    finally:
        connection.execute(sa.select(sa.func.release_lock(lock["name"])))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config
