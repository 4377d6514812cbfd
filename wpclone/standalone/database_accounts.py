"""The accounts of one installation in its own MariaDB, each with no more than it needs.

`wpclone_jobs` owns the schema of the job store and sees nothing else. `wpclone_clones` makes and removes the databases and
users of clones: everything on databases named `wpc_…`, and CREATE USER, which MariaDB knows no narrower form of.
`wpclone_spaces` is the keeper's, by the socket alone: it locks tables of clones, exports and imports their files (RELOAD is for
all databases or none, and lets nothing be read).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pymysql

from wpclone.standalone.passwords import Passwords

JOBS_DATABASE = "wpclone"
JOBS_USER = "wpclone_jobs"
CLONES_USER = "wpclone_clones"
SPACES_USER = "wpclone_spaces"


def make_accounts(socket: Path, root_password: str, passwords: Passwords, *, come_from: str = "127.0.0.1") -> None:
    """Make the schema and both accounts, or bring them back to what they should be. Repeatable. Raises pymysql.err.Error.

    `come_from` is where the service connects from, as MySQL accounts name it.
    """
    with _signed_in(socket, root_password) as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {JOBS_DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
        for user, password in ((JOBS_USER, passwords.jobs), (CLONES_USER, passwords.clones)):
            cursor.execute(f"CREATE USER IF NOT EXISTS {user}@%s IDENTIFIED BY %s", (come_from, password))
            cursor.execute(f"ALTER USER {user}@%s IDENTIFIED BY %s", (come_from, password))
        cursor.execute(f"GRANT ALL PRIVILEGES ON {JOBS_DATABASE}.* TO {JOBS_USER}@'{come_from}'")
        cursor.execute(f"GRANT CREATE USER ON *.* TO {CLONES_USER}@'{come_from}'")
        cursor.execute(f"GRANT ALL PRIVILEGES ON `wpc\\_%`.* TO {CLONES_USER}@'{come_from}' WITH GRANT OPTION")


def make_spaces_account(socket: Path, root_password: str, passwords: Passwords) -> None:
    """Make the keeper's account, or bring it back to what it should be. Repeatable. Raises pymysql.err.Error."""
    with _signed_in(socket, root_password) as cursor:
        account = f"{SPACES_USER}@localhost"
        cursor.execute(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY %s", (passwords.spaces,))
        cursor.execute(f"ALTER USER {account} IDENTIFIED BY %s", (passwords.spaces,))
        cursor.execute(f"GRANT RELOAD ON *.* TO {account}")
        cursor.execute(f"GRANT SELECT, LOCK TABLES, ALTER ON `wpc\\_%`.* TO {account}")


@contextmanager
def _signed_in(socket: Path, root_password: str) -> Iterator[Any]:
    connection = pymysql.connect(
        unix_socket=str(socket), user="root", password=root_password, connect_timeout=5, read_timeout=30, write_timeout=30
    )
    with closing(connection), connection.cursor() as cursor:
        yield cursor


def jobs_url(port: int, passwords: Passwords, *, host: str = "127.0.0.1") -> str:
    """The job store's address for SQLAlchemy, with its password."""
    return f"mysql+aiomysql://{JOBS_USER}:{passwords.jobs}@{host}:{port}/{JOBS_DATABASE}"


def clones_url(port: int, passwords: Passwords, *, host: str = "127.0.0.1") -> str:
    """The address under which databases of clones are made, with its password."""
    return f"mysql://{CLONES_USER}:{passwords.clones}@{host}:{port}/"
