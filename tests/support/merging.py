"""Three versions of a site's tables on one MariaDB, and a target that carries rows as the agent does, for tests of merging."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiomysql

from tests.support.servers import Mariadb
from workers.merge.base import record_base
from workers.merge.decide import Policy
from workers.merge.merge import Business, How, Merge, Merged, Places
from wpclone.wordpress.rewrite import Mapping, Rewriter

PREFIX = "wp_"
TABLES = ("posts", "postmeta", "options", "terms", "term_taxonomy", "term_relationships")
_DDL = (
    "CREATE TABLE wp_posts (ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, post_title TEXT NOT NULL,"
    " post_content LONGTEXT NOT NULL, post_type VARCHAR(20) NOT NULL DEFAULT 'post',"
    " comment_count BIGINT NOT NULL DEFAULT 0) CHARACTER SET utf8mb4",
    "CREATE TABLE wp_postmeta (meta_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, post_id BIGINT UNSIGNED NOT NULL,"
    " meta_key VARCHAR(255), meta_value LONGTEXT, KEY post_id (post_id)) CHARACTER SET utf8mb4",
    "CREATE TABLE wp_options (option_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, option_name VARCHAR(191) NOT NULL,"
    " option_value LONGTEXT NOT NULL, UNIQUE KEY option_name (option_name)) CHARACTER SET utf8mb4",
    "CREATE TABLE wp_terms (term_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(200) NOT NULL)",
    "CREATE TABLE wp_term_taxonomy (term_taxonomy_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, term_id BIGINT UNSIGNED"
    " NOT NULL, description LONGTEXT NOT NULL, count BIGINT NOT NULL DEFAULT 0)",
    "CREATE TABLE wp_term_relationships (object_id BIGINT UNSIGNED NOT NULL, term_taxonomy_id BIGINT UNSIGNED NOT NULL,"
    " PRIMARY KEY (object_id, term_taxonomy_id))",
)  # fmt: skip
_CONTENT = (
    "INSERT INTO wp_posts (ID, post_title, post_content) VALUES (1, 'one', 'first'), (2, 'two', 'second'), (3, 'three', 'third')",
    "INSERT INTO wp_posts (ID, post_title, post_content, post_type) VALUES (4, 'order 4', '', 'shop_order')",
    "INSERT INTO wp_postmeta VALUES (10, 1, 'a', '1'), (11, 2, '_stock', '5'), (12, 4, '_total', '9.99')",
    "INSERT INTO wp_options VALUES (1, 'siteurl', 'http://site.test'), (2, 'blogname', 'Site'), (3, 'theme', 'one')",
    "INSERT INTO wp_terms VALUES (1, 'news')",
    "INSERT INTO wp_term_taxonomy VALUES (1, 1, 'all news', 1)",
    "INSERT INTO wp_term_relationships VALUES (1, 1)",
)
BUSINESS = Business(is_order=lambda name: name.startswith(b"shop_"), is_targets_option=lambda name: name == b"siteurl")


@dataclass
class Versions:
    """The clone, the target, and what would be swapped in (`staged`, filled by `merge`)."""

    server: Mariadb
    places: Places
    staged: str

    def at_clone(self, *statements: str) -> None:
        for statement in statements:
            self.server.execute(statement, database=self.places.clone)

    def at_target(self, *statements: str) -> None:
        for statement in statements:
            self.server.execute(statement, database=self.places.now)

    def result(self, query: str) -> list[tuple[Any, ...]]:
        return self.server.execute(query, database=self.staged)

    async def merge(self, policy: Policy = Policy.KEEP_TARGET, *, base: bool = True) -> Merged:
        """Decide, then carry out in `staged`: the target's table, or the clone's brought to what was decided."""
        places = self.places if base else Places(self.places.clone, "", self.places.now, PREFIX, PREFIX)
        async with self.cursor() as cursor:
            merge = Merge(cursor, places, policy, BUSINESS)
            merged = await merge.decide(TABLES)
            for table in merged.tables:
                whose = self.places.now if table.how is How.NOTHING else self.places.clone
                self.result(f"DROP TABLE IF EXISTS {table.name}")
                self.result(f"CREATE TABLE {table.name} LIKE {whose}.{table.name}")
                self.result(f"INSERT INTO {table.name} SELECT * FROM {whose}.{table.name}")
                if table.how is How.ROWS:
                    target = SqlTarget(cursor, self.places.now, self.staged)
                    await merge.carry_out(table.name.removeprefix(PREFIX), target, Rewriter(IDENTITY))
            return merged

    @asynccontextmanager
    async def cursor(self) -> AsyncIterator[Any]:
        connect: Any = aiomysql.connect
        connection = await connect(
            host="127.0.0.1", port=self.server.place.port, user="root", password=self.server.password, autocommit=True,
            charset="utf8mb4", init_command="SET sql_notes = 0",
        )  # fmt: skip
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


IDENTITY = Mapping.of(["http://clone.test"], "http://site.test")


@dataclass(frozen=True)
class SqlTarget:
    """Staged and live tables as two schemas of one server."""

    cursor: Any
    live: str
    staged: str

    async def carry(
        self, table: str, keys: Sequence[tuple[bytes, ...]], *, by: Sequence[bytes] = (), omit: Sequence[bytes] = ()
    ) -> int:
        await self.cursor.execute(f"SHOW COLUMNS FROM {self.live}.{table}")
        columns = await self.cursor.fetchall()
        await self.cursor.execute(f"SHOW INDEX FROM {self.staged}.{table} WHERE Key_name = 'PRIMARY'")
        names = [name.decode() for name in by] or [part[4] for part in await self.cursor.fetchall()]
        moved = ", ".join(column[0] for column in columns if column[0].encode() not in omit)
        for key in keys:
            which = " AND ".join(f"CAST({name} AS BINARY) = X'{part.hex()}'" for name, part in zip(names, key, strict=True))
            await self.cursor.execute(f"DELETE FROM {self.staged}.{table} WHERE {which}")
            await self.cursor.execute(
                f"INSERT INTO {self.staged}.{table} ({moved}) SELECT {moved} FROM {self.live}.{table} WHERE {which}"
            )
        return len(keys)

    async def put(self, table: str, columns: Sequence[bytes], rows: Sequence[Sequence[bytes | None]]) -> None:
        names = ", ".join(name.decode() for name in columns)
        for row in rows:
            values = ", ".join("NULL" if value is None else f"X'{value.hex()}'" if value else "''" for value in row)
            await self.cursor.execute(f"REPLACE INTO {self.staged}.{table} ({names}) VALUES ({values})")


@contextmanager
def three_versions(server: Mariadb) -> Iterator[Versions]:
    """A clone and a target that are still the same; the base is to be recorded with `remember`."""
    run = secrets.token_hex(4)
    names = {what: f"m_{what}_{run}" for what in ("clone", "base", "now", "staged")}
    for name in names.values():
        server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    versions = Versions(server, Places(names["clone"], names["base"], names["now"], PREFIX, PREFIX), names["staged"])
    versions.at_clone(*_DDL, *_CONTENT)
    versions.at_target(*_DDL, *_CONTENT)
    try:
        yield versions
    finally:
        for name in names.values():
            server.execute(f"DROP DATABASE IF EXISTS {name}")


async def remember(versions: Versions) -> int:
    """Record the base, as a clone job does; how many rows it has."""
    async with versions.cursor() as cursor:
        names = [PREFIX + name for name in TABLES]
        return await record_base(cursor, versions.places.clone, versions.places.base, PREFIX, names)
