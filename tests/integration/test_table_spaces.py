"""Tables whose files are brought: the same copy and report as row by row, whole after a kill, and else the ordinary way."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pymysql
import pytest

from tests.integration.test_copy_tables import Target, _counted, _tables, left_of, target
from tests.support.source_site import SourceSite, agent_of
from tests.support.spaces import Shelf, allow, table_spaces
from wpclone.standalone import table_spaces as spaces_module
from wpclone.standalone.file_sharing import copy_content
from wpclone.standalone.table_spaces import Stale, TableSpaces
from wpclone.wordpress import near_tables
from wpclone.wordpress.control import Control
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.rewrite import Mapping
from wpclone.wordpress.rewrite import Rewriter as SiteRewriter
from wpclone.wordpress.tables import TablesCopied, copy_tables
from wpclone.wordpress.target import connected

__all__ = ["target"]
ELSEWHERE = "http://clone-0123456789ab.localhost:8080"


@dataclass
class Bench:
    """A source and an empty target in one server, with what brings tables from one to the other. `only` these are copied."""

    source: SourceSite
    target: Target
    spaces: TableSpaces
    only: frozenset[str] = frozenset({"wp_notes"})

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.spaces, self.source.site.database, self.target.database.database)

    async def copy(self, near: Shelf | None, *, fence: int = 1, when: Callable[[int], None] = lambda rows: None) -> TablesCopied:
        rewriter = SiteRewriter(Mapping.of([self.source.url], ELSEWHERE))
        async with agent_of(self.source) as agent:
            site = await inspect(agent)
            report = replace(site, tables=tuple(table for table in site.tables if table.name in self.only))
            return await copy_tables(
                agent, report, self.target.database, rewriter=rewriter, fence=fence, near=near,
                progress=lambda counts: when(counts.rows_done),
            )  # fmt: skip

    async def both_ways(self, near: Shelf) -> tuple[TablesCopied, TablesCopied]:
        """The copy with `near`, compared in all it holds with the copy row by row, and what both told."""
        brought = await self.copy(near)
        found = self._content()
        self.clear()
        ordinary = await self.copy(None)
        assert found == self._content()
        assert [_counted(table) for table in brought.tables] == [_counted(table) for table in ordinary.tables]
        assert (brought.left, brought.reported) == (ordinary.left, ordinary.reported)
        return brought, ordinary

    def clear(self) -> None:
        name = self.target.database.database
        self.target.mariadb.execute(f"DROP DATABASE {name}")
        self.target.mariadb.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")

    def _content(self) -> dict[str, object]:
        """Sums of all tables, what was left in them, their definitions."""
        found: dict[str, object] = {}
        for table in self.only:
            definition = self.target.sql(f"SHOW CREATE TABLE `{table}`")[0][1]
            checksum = self.target.sql(f"CHECKSUM TABLE `{table}`")[0][1]
            found[table] = (definition, checksum, left_of(self.target, table))
        return found

    def files(self) -> list[str]:
        """The files of the target's tables."""
        return sorted(os.listdir(self.spaces.data / self.target.database.database))


@pytest.fixture
def bench(source_site: SourceSite, target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(near_tables, "LEAST_BYTES", 0)
    with table_spaces(source_site.mariadb) as spaces:
        for database in (source_site.site.database, target.database.database):
            allow(source_site.mariadb, database)
        yield Bench(source_site, target, spaces)


@pytest.fixture
def notes(source_site: SourceSite) -> Iterator[str]:
    """A table of two megabytes, of which every fiftieth row names the site."""
    source_site.sql(
        "CREATE TABLE wp_notes (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, k VARCHAR(20) NOT NULL, t LONGTEXT,"
        " f FLOAT, b BIT(9), raw VARBINARY(30), at DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, KEY k (k))"
        " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    try:
        _fill(source_site)
        yield "wp_notes"
    finally:
        source_site.sql("DROP TABLE wp_notes")


def _fill(source: SourceSite) -> None:
    source.sql(
        "INSERT INTO wp_notes (k, t, f, b, raw, at) SELECT CONCAT('k', seq), IF(seq MOD 7 = 0, NULL, CONCAT(REPEAT(MD5(seq), 10),"
        f" IF(seq MOD 50 = 0, ' <a href=\"{source.url}/page\">quoted \\\\ \\' \U0001f600</a>', ''))), seq / 3, seq MOD 512,"
        " IF(seq MOD 3 = 0, NULL, UNHEX(MD5(seq))), '2020-02-02 02:02:02' FROM seq_1_to_6000"
    )


async def test_content_and_report_are_those_of_the_ordinary_way(bench: Bench, notes: str) -> None:
    bench.only, near = frozenset(_tables(bench.source)), bench.shelf
    brought, ordinary = await bench.both_ways(near)
    assert near.refused == {}
    assert {notes, "wp_posts", "wp_postmeta", "wp_comments"} <= set(near.asked)
    assert next(table for table in brought.tables if table.name == notes).rewritten >= 100
    assert (brought.consistency, brought.fuzzy) == (ordinary.consistency, ordinary.fuzzy)
    assert [name for name in bench.files() if name.endswith(".cfg")] == []


async def test_what_the_server_could_not_import_or_replace_goes_the_ordinary_way(bench: Bench) -> None:
    odd = {
        "wp_x_search": "(id INT PRIMARY KEY, t TEXT, FULLTEXT KEY (t)) ENGINE=InnoDB",
        "wp_x_two": "(id INT PRIMARY KEY, u VARCHAR(90) UNIQUE) ENGINE=InnoDB",
        "wp_x_none": "(t TEXT) ENGINE=InnoDB",
        "wp_x_made": "(id INT PRIMARY KEY, t VARCHAR(90), g VARCHAR(99) AS (CONCAT(t, '!')) VIRTUAL, KEY (g)) ENGINE=InnoDB",
        "wp_x_aria": "(id INT PRIMARY KEY, t TEXT) ENGINE=Aria",
        "wp_x_parts": "(id INT PRIMARY KEY, t TEXT) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 3",
        "wp_x-ödd": "(id INT PRIMARY KEY, t TEXT) ENGINE=InnoDB",
        "wp_x_child": "(id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES wp_x_two (id)) ENGINE=InnoDB",
    }
    for name, definition in odd.items():
        bench.source.sql(f"CREATE TABLE `{name}` {definition}")
        column = {"wp_x_two": "u"}.get(name, "t")
        keyed = name != "wp_x_none"
        if name != "wp_x_child":
            bench.source.sql(f"INSERT INTO `{name}` ({'id, ' * keyed}{column}) VALUES ({'1, ' * keyed}'{bench.source.url}/a')")
    try:
        bench.only, near = frozenset(odd), bench.shelf
        await bench.both_ways(near)
    finally:
        for name in reversed(odd):
            bench.source.sql(f"DROP TABLE `{name}`")
    assert set(near.asked) & set(odd) == set()


@pytest.mark.parametrize("row_format", ["COMPACT", "COMPRESSED"])
async def test_what_the_server_refuses_to_import_goes_the_ordinary_way(bench: Bench, notes: str, row_format: str) -> None:
    bench.source.sql(f"ALTER TABLE {notes} ROW_FORMAT={row_format}")
    near = bench.shelf
    await bench.both_ways(near)
    assert list(near.refused) == [notes]


async def test_a_table_altered_in_an_instant_is_imported_as_it_is(bench: Bench, notes: str) -> None:
    for change in (
        "ADD COLUMN more VARCHAR(9) NOT NULL DEFAULT 'dflt'",
        "DROP COLUMN f",
        "MODIFY k VARCHAR(30) NOT NULL AFTER t",
    ):
        bench.source.sql(f"ALTER TABLE {notes} {change}, ALGORITHM=INSTANT")
    near = bench.shelf
    await bench.both_ways(near)
    assert near.refused == {}


async def test_a_key_that_names_the_site_makes_its_table_go_the_ordinary_way(bench: Bench) -> None:
    bench.source.sql("CREATE TABLE wp_pages (url VARCHAR(99) PRIMARY KEY, n INT) ENGINE=InnoDB")
    bench.source.sql(f"INSERT INTO wp_pages SELECT CONCAT('{bench.source.url}/', seq), seq FROM seq_1_to_300")
    try:
        bench.only, near = frozenset({"wp_pages"}), bench.shelf
        await bench.both_ways(near)
        assert "wp_pages" in near.asked
        assert bench.target.sql("SELECT url FROM wp_pages WHERE n = 7") == [(f"{ELSEWHERE}/7",)]
    finally:
        bench.source.sql("DROP TABLE wp_pages")


async def test_a_table_of_which_most_values_change_is_written_anew(
    bench: Bench, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wpclone.wordpress.table_bring.MOST_CHANGED", 10)
    near = bench.shelf
    await bench.both_ways(near)
    assert notes in near.asked


class Killed(BaseException):
    """Stands for the end of the worker."""


@pytest.mark.parametrize("rows", [0, 3000])
async def test_a_copy_that_ended_within_a_brought_table_begins_it_afresh(
    bench: Bench, notes: str, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("wpclone.wordpress.tables._COMMIT_BYTES", 100_000)
    monkeypatch.setattr("wpclone.wordpress.table_reader._FRAME_BYTES", 100_000)

    class Ending(Shelf):
        async def bring_table(self, table: bytes, fence: int, most: int) -> str:
            why = await super().bring_table(table, fence, most)
            if rows == 0 and table.decode() == notes:
                raise Killed
            return why

    def when(done: int) -> None:
        rewritten = bench.target.sql(f"SELECT COUNT(*) FROM {notes} WHERE t LIKE '%{ELSEWHERE}%'") if done else [(0,)]
        if rows and int(str(rewritten[0][0])) >= 40:
            raise Killed

    then = bench.shelf
    first = Ending(then.spaces, then.source, then.target)
    with pytest.raises(Killed):
        await bench.copy(first, when=when)
    await bench.copy(then, fence=2)
    assert notes in then.asked
    found = bench._content()
    bench.clear()
    await bench.copy(None)
    assert found == bench._content()


async def test_a_finished_table_is_not_brought_again(bench: Bench, notes: str) -> None:
    await bench.copy(bench.shelf)
    again = bench.shelf
    copied = await bench.copy(again, fence=2)
    assert again.asked == []
    assert next(table for table in copied.tables if table.name == notes).rows == 6000


async def test_an_older_claim_brings_nothing(bench: Bench, notes: str) -> None:
    await bench.copy(bench.shelf, fence=2)
    before = bench.target.sql(f"CHECKSUM TABLE {notes}")
    with pytest.raises(Stale):
        await bench.shelf.bring_table(notes.encode(), 1, 1 << 30)
    assert bench.target.sql(f"CHECKSUM TABLE {notes}") == before


async def test_no_newer_claim_comes_in_while_a_table_is_brought(
    bench: Bench, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _made(bench, notes)
    waited = list[int]()

    def copy(source: int, made: int, size: int) -> None:
        claim = bench.target.mariadb.connect(bench.target.database.database)
        try:
            with claim.cursor() as cursor:
                cursor.execute("SET innodb_lock_wait_timeout=1")
                cursor.execute("UPDATE wpclone_control SET fence = 2")
        except pymysql.err.OperationalError as error:
            waited.append(error.args[0])
        finally:
            claim.close()
        copy_content(source, made, size)

    monkeypatch.setattr(spaces_module, "copy_content", copy)
    assert await bench.shelf.bring_table(notes.encode(), 1, 1 << 30) == ""
    assert waited == [1205, 1205]
    assert bench.target.sql(f"SELECT COUNT(*) FROM {notes}") == [(6000,)]


async def test_what_changes_after_it_was_brought_is_read_again(bench: Bench, notes: str) -> None:
    class Restless(Shelf):
        async def bring_table(self, table: bytes, fence: int, most: int) -> str:
            why = await super().bring_table(table, fence, most)
            if table.decode() == notes:
                bench.source.sql(f"UPDATE {notes} SET t = CONCAT('{bench.source.url}/new', id) WHERE id BETWEEN 70 AND 90")
                bench.source.sql(f"DELETE FROM {notes} WHERE id > 5990")
            return why

    shelf = bench.shelf
    copied = await bench.copy(Restless(shelf.spaces, shelf.source, shelf.target))
    assert copied.consistency == "SNAPSHOT"
    assert notes in copied.read_again
    found = bench._content()
    bench.clear()
    await bench.copy(None)
    assert found == bench._content()


def _spoil(source: int, made: int, size: int) -> None:
    data = bytearray(os.pread(source, size, 0))
    data[min(size, 5 * 16384) // 2 :: 4096] = bytes(len(range(min(size, 5 * 16384) // 2, size, 4096)))
    os.write(made, data)


async def test_a_damaged_file_fails_its_table_and_not_the_server(
    bench: Bench, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = bench.source.mariadb.execute("SHOW STATUS LIKE 'Uptime'")
    monkeypatch.setattr(spaces_module, "copy_content", _spoil)
    near = bench.shelf
    await bench.both_ways(near)
    assert list(near.refused) == [notes]
    assert int(bench.source.mariadb.execute("SHOW STATUS LIKE 'Uptime'")[0][1]) >= int(began[0][1])


async def test_a_table_that_its_clone_keeps_locked_is_waited_for_once_and_read_otherwise(
    bench: Bench, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces_module, "_LOCK_SECONDS", 1)
    holder = bench.source.mariadb.connect(bench.source.site.database)
    try:
        with holder.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT COUNT(*) FROM {notes}")
            cursor.execute(f"UPDATE {notes} SET k = 'held' WHERE id = 1")
        near = bench.shelf
        await bench.copy(near)
    finally:
        holder.close()
    assert near.refused == {notes: "error 1205"}
    assert bench.target.sql(f"SELECT COUNT(*) FROM {notes}") == [(6000,)]


async def test_a_file_much_larger_than_its_rows_is_not_brought(bench: Bench, notes: str) -> None:
    await _made(bench, notes)
    why = await bench.shelf.bring_table(notes.encode(), 1, 1 << 20)
    assert why.endswith(" bytes")
    assert [name for name in bench.files() if name.endswith((".ibd", ".cfg")) and name.startswith(notes)] == []


async def _made(bench: Bench, table: str) -> None:
    """The empty table in the target, and claim 1 there."""
    async with connected(bench.target.database, binary=False) as connection:
        await Control(1).claim(connection)
    bench.target.sql(str(bench.source.sql(f"SHOW CREATE TABLE {table}")[0][1]))


@pytest.mark.parametrize("name", ["../mysql/user", "wp_notes/../x", "", "a" * 65, "wp-notes", "wp_notes\0", "`x`"])
def test_a_name_that_may_lead_elsewhere_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(ValueError, match="no such name"):
        bench.spaces.share(bench.source.site.database, bench.target.database.database, name, fence=1, most=1)
    with pytest.raises(ValueError, match="no such name"):
        bench.spaces.share(name, bench.target.database.database, "wp_notes", fence=1, most=1)
