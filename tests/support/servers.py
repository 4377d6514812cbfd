"""A real MariaDB and a real nats-server, one of each a test session, started by the product's own code.

They run on an event loop of their own thread, so that synchronous and asynchronous tests of any loop can use them.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pymysql

from tests.support.places import free_port, open_directory
from wpclone.standalone import mariadb, nats
from wpclone.standalone.child import Account, Child

T = TypeVar("T")
SERVICE = Account(64990, 64990) if os.getuid() == 0 else Account.current()


class Loop:
    """An event loop on a thread, to keep children on."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 180) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass
class Mariadb:
    """A running MariaDB: where it is, root's password, and how to stop and start it again."""

    place: mariadb.MariadbPlace
    password: str
    loop: Loop
    child: Child

    def connect(self, database: str | None = None) -> "pymysql.connections.Connection[Any]":
        return pymysql.connect(
            host="127.0.0.1", port=self.place.port, user="root", password=self.password, database=database, autocommit=True,
            charset="utf8mb4", connect_timeout=5, read_timeout=60, write_timeout=60,
        )  # fmt: skip

    def url(self, database: str) -> str:
        """An SQLAlchemy URL for root."""
        return f"mysql+aiomysql://root:{self.password}@127.0.0.1:{self.place.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new empty database, dropped afterwards; yields its name."""
        name = "t_" + secrets.token_hex(6)
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name}")

    def execute(self, sql: str, *parameters: object, database: str | None = None) -> list[tuple[Any, ...]]:
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def stop(self) -> None:
        self.loop.run(self.child.stop(grace=60))

    def start(self) -> None:
        self.child = self.loop.run(mariadb.start(self.place, self.password))


@dataclass
class Nats:
    """A running nats-server."""

    place: nats.NatsPlace
    loop: Loop
    child: Child

    @property
    def url(self) -> str:
        return self.place.url

    def stop(self) -> None:
        self.loop.run(self.child.stop())

    def start(self) -> None:
        self.child = self.loop.run(nats.start(self.place))


@contextmanager
def running_mariadb(*addresses: str) -> Iterator[Mariadb]:
    loop = Loop()
    with open_directory("db") as directory:
        place = mariadb.MariadbPlace(Path(directory) / "m", free_port(), SERVICE, addresses or ("127.0.0.1",))
        password = loop.run(mariadb.prepare(place))
        server = Mariadb(place, password, loop, loop.run(mariadb.start(place, password)))
        try:
            yield server
        finally:
            server.stop()
            loop.close()


@contextmanager
def running_nats() -> Iterator[Nats]:
    loop = Loop()
    with open_directory("nats") as directory:
        place = nats.NatsPlace(Path(directory) / "n", free_port(), secrets.token_hex(8), SERVICE)
        server = Nats(place, loop, loop.run(nats.start(place)))
        try:
            yield server
        finally:
            server.stop()
            loop.close()
