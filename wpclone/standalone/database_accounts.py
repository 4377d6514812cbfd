"""The accounts of one installation in its own MariaDB, each with no more than it needs.

`wpclone_jobs` owns the schema of the job store and sees nothing else. `wpclone_clones` makes and removes the databases and
users of clones: everything on databases named `wpc_…`, and CREATE USER, which MariaDB knows no narrower form of.
"""

from __future__ import annotations

from pathlib import Path

import pymysql

from wpclone.standalone.passwords import Passwords

JOBS_DATABASE = "wpclone"
JOBS_USER = "wpclone_jobs"
CLONES_USER = "wpclone_clones"


def make_accounts(socket: Path, root_password: str, passwords: Passwords, *, come_from: str = "127.0.0.1") -> None:
    """Make the schema and both accounts, or bring them back to what they should be. Repeatable. Raises pymysql.err.Error.

    `come_from` is where the service connects from, as MySQL accounts name it.
    """
    connection = pymysql.connect(
        unix_socket=str(socket), user="root", password=root_password, connect_timeout=5, read_timeout=30, write_timeout=30
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {JOBS_DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci")
            for user, password in ((JOBS_USER, passwords.jobs), (CLONES_USER, passwords.clones)):
                cursor.execute(f"CREATE USER IF NOT EXISTS {user}@%s IDENTIFIED BY %s", (come_from, password))
                cursor.execute(f"ALTER USER {user}@%s IDENTIFIED BY %s", (come_from, password))
            cursor.execute(f"GRANT ALL PRIVILEGES ON {JOBS_DATABASE}.* TO {JOBS_USER}@'{come_from}'")
            cursor.execute(f"GRANT CREATE USER ON *.* TO {CLONES_USER}@'{come_from}'")
            cursor.execute(f"GRANT ALL PRIVILEGES ON `wpc\\_%`.* TO {CLONES_USER}@'{come_from}' WITH GRANT OPTION")
    finally:
        connection.close()


def jobs_url(port: int, passwords: Passwords, *, host: str = "127.0.0.1") -> str:
    """The job store's address for SQLAlchemy, with its password."""
    return f"mysql+aiomysql://{JOBS_USER}:{passwords.jobs}@{host}:{port}/{JOBS_DATABASE}"


def clones_url(port: int, passwords: Passwords, *, host: str = "127.0.0.1") -> str:
    """The address under which databases of clones are made, with its password."""
    return f"mysql://{CLONES_USER}:{passwords.clones}@{host}:{port}/"
