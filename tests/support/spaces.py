"""The keeper's account on a MariaDB of the tests, and tables brought with it where no keeper is."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.servers import Mariadb
from wpclone.standalone.database_accounts import SPACES_USER, make_spaces_account
from wpclone.standalone.passwords import Passwords
from wpclone.standalone.table_spaces import TableSpaces

PASSWORDS = Passwords(jobs="-", clones="-", nats="-", spaces="spacespassword")


@contextmanager
def table_spaces(server: Mariadb) -> Iterator[TableSpaces]:
    make_spaces_account(server.place.socket, server.password, PASSWORDS)
    try:
        yield TableSpaces(server.place.socket, server.place.data, server.place.account, PASSWORDS.spaces)
    finally:
        server.execute(f"DROP USER IF EXISTS {SPACES_USER}@localhost")


@dataclass
class Shelf:
    """Brings tables of `source`'s database to `target`'s as the keeper does; `asked` and `refused` say which."""

    spaces: TableSpaces
    source: str
    target: str
    asked: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    async def bring_table(self, table: bytes, fence: int, most: int) -> str:
        self.asked.append(table.decode())
        why = await asyncio.to_thread(self.spaces.share, self.source, self.target, table.decode(), fence=fence, most=most)
        if why:
            self.refused[table.decode()] = why
        return why


def allow(server: Mariadb, database: str) -> None:
    """Let the keeper's account at a database that is not called as a clone's."""
    server.execute(f"GRANT SELECT, LOCK TABLES, ALTER ON `{database}`.* TO {SPACES_USER}@localhost")
