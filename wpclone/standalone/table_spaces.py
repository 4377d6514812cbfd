"""Copies a table of one clone into another's database by its file: MariaDB's transportable table spaces.

The clones' databases are the one server's, whose files only its own account and root can read. So the keeper does it all, signed
in to an account of its own: it holds the copy's fence, empties the place of the table's file, has the source's table written out
and locked (FLUSH TABLES … FOR EXPORT) while its file is copied, and has the server take the copy in, which checks every page of
it. Names are of letters, digits and underscores; directories and files are opened by descriptor, no link is followed, and only a
plain file of the server's own is read.

Source: the MariaDB manual's "InnoDB File-Per-Table Tablespaces", copying transportable tablespaces.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from wpclone.standalone.child import Account
from wpclone.standalone.database_accounts import SPACES_USER
from wpclone.standalone.file_sharing import copy_content

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_LOCK_SECONDS = 5
_STATEMENT_SECONDS = 120
_LARGEST_DESCRIPTION = 1 << 20
_CONTROL = "wpclone_control"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Stale(Exception):
    """Another claim than the caller's fills the database."""


class _Refused(Exception):
    """The table cannot be copied so; the message says why."""


@dataclass(frozen=True)
class TableSpaces:
    """The one MariaDB: its socket, its directory of data, the account it runs as, and the password of `SPACES_USER`."""

    socket: Path
    data: Path
    account: Account
    password: str = field(repr=False)

    def share(self, source: str, target: str, table: str, *, fence: int, most: int) -> str:
        """Give the empty `table` in the database `target` what the one in `source` holds; why not, if not.

        Then the table has no content and is to be made anew. `fence` is the claim that fills `target`, `most` the bytes that the
        file may have. Blocks; to be run in a thread. Raises Stale, ValueError for a name that may be more than a file's.
        """
        if source == target or not all(_NAME.fullmatch(name) for name in (source, target, table)):
            raise ValueError("a table's file has no such name")
        try:
            with self._signed_in(target) as claim, self._signed_in(source) as there, self._signed_in(target) as here:
                _hold(claim, fence)
                with _opened(self.data, source) as from_directory, _opened(self.data, target) as into:
                    return self._share(there, here, from_directory, into, table, most)
        except pymysql.err.MySQLError as error:
            return f"error {error.args[0] if error.args else 0}"
        except (_Refused, OSError) as refused:
            return str(refused)

    def _share(self, there: Any, here: Any, from_directory: int, into: int, table: str, most: int) -> str:
        here.execute(f"ALTER TABLE `{table}` DISCARD TABLESPACE")
        try:
            there.execute(f"FLUSH TABLES `{table}` FOR EXPORT")
            self._copy(f"{table}.ibd", from_directory, into, most)
            self._copy(f"{table}.cfg", from_directory, into, _LARGEST_DESCRIPTION)
            there.execute("UNLOCK TABLES")
            os.fsync(into)
            here.execute(f"ALTER TABLE `{table}` IMPORT TABLESPACE")
        except BaseException:
            _remove(f"{table}.ibd", into)
            raise
        finally:
            _remove(f"{table}.cfg", into)
        return ""

    def _copy(self, name: str, from_directory: int, into: int, most: int) -> None:
        try:
            found = os.open(name, _FILE, dir_fd=from_directory)
        except FileNotFoundError:
            raise _Refused("the table has no file of its own") from None
        try:
            status = os.fstat(found)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_uid != self.account.uid:
                raise _Refused("the table's file is not the server's own")
            if status.st_size > most:
                raise _Refused(f"the table's file has {status.st_size} bytes")
            self._write(name, into, found, status.st_size)
        finally:
            os.close(found)

    def _write(self, name: str, into: int, found: int, size: int) -> None:
        made = os.open(name, _FRESH, 0o660, dir_fd=into)
        try:
            copy_content(found, made, size)
            if os.getuid() == 0:
                os.fchown(made, self.account.uid, self.account.gid)
        finally:
            os.close(made)

    @contextmanager
    def _signed_in(self, database: str) -> Iterator[Any]:
        connection = pymysql.connect(
            unix_socket=str(self.socket), user=SPACES_USER, password=self.password, database=database, autocommit=True,
            connect_timeout=5, read_timeout=_STATEMENT_SECONDS, write_timeout=_STATEMENT_SECONDS,
        )  # fmt: skip
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(f"SET SESSION lock_wait_timeout={_LOCK_SECONDS}, innodb_lock_wait_timeout={_LOCK_SECONDS}")
            yield cursor


def _hold(claim: Any, fence: int) -> None:
    """Keep the fence of the database from being raised until the connection ends. Raises Stale."""
    claim.execute("BEGIN")
    claim.execute(f"SELECT fence FROM {_CONTROL} WHERE name = '' LOCK IN SHARE MODE")  # noqa: S608 - our own constant
    found = claim.fetchone()
    if found is None or int(found[0]) != fence:
        raise Stale(f"fence {found[0] if found else 'none'} stands in the way of {fence}")


@contextmanager
def _opened(data: Path, database: str) -> Iterator[int]:
    top = os.open(data, _DIRECTORY)
    try:
        below = os.open(database, _DIRECTORY, dir_fd=top)
    finally:
        os.close(top)
    try:
        yield below
    finally:
        os.close(below)


def _remove(name: str, directory: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
