"""Tables of a real source, copied by the real agent into a new database on a real MariaDB."""

import asyncio
import base64
import json
import random
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from tests.support.servers import Mariadb
from tests.support.source_site import SourceSite, agent_of
from tests.support.wait import until_async
from wpclone.wordpress.agent.client import AgentClient
from wpclone.wordpress.errors import FencedOff, Reason, SiteError
from wpclone.wordpress.inspect import SiteReport, inspect
from wpclone.wordpress.progress import Counts
from wpclone.wordpress.rewrite import Left, Mapping, Result
from wpclone.wordpress.rewrite import Reason as LeftReason
from wpclone.wordpress.rewrite import Rewriter as SiteRewriter
from wpclone.wordpress.tables import Rewriter, TableCopied, TablesCopied, TargetDatabase, copy_tables, finish_tables


@dataclass
class Target:
    """An empty database with an account of its own, as the runtime makes for a clone."""

    mariadb: Mariadb
    database: TargetDatabase

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return self.mariadb.execute(statement, database=self.database.database)


@pytest.fixture
def target(mariadb_server: Mariadb) -> Iterator[Target]:
    name, password = "wpc_" + secrets.token_hex(6), secrets.token_hex(12)
    mariadb_server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    mariadb_server.execute(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY '{password}'")
    mariadb_server.execute(f"GRANT ALL ON {name}.* TO '{name}'@'127.0.0.1'")
    try:
        yield Target(mariadb_server, TargetDatabase(name, password, name, port=mariadb_server.place.port))
    finally:
        mariadb_server.execute(f"DROP USER '{name}'@'127.0.0.1'")
        mariadb_server.execute(f"DROP DATABASE {name}")


def _content(mariadb: Mariadb, database: str, table: str) -> list[tuple[object, ...]]:
    """All rows as hexadecimal bytes, in some fixed order."""
    columns = mariadb.execute(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA=%s AND TABLE_NAME=%s ORDER BY ORDINAL_POSITION",
        database, table,
    )  # fmt: skip
    quoted = [("`" + str(name).replace("`", "``") + "`", kind) for name, kind in columns]
    shown = ",".join(f"HEX({name}+0e0)" if kind in ("float", "double") else f"HEX({name})" for name, kind in quoted)
    return sorted(mariadb.execute(f"SELECT {shown} FROM `{table}`", database=database), key=repr)


async def _copy(
    agent: AgentClient, target: Target, *, fence: int = 1, rewriter: Rewriter | None = None, report: SiteReport | None = None
) -> TablesCopied:
    seen: list[Counts] = []
    copied = await copy_tables(
        agent,
        report or await inspect(agent),
        target.database,
        rewriter=rewriter,
        fence=fence,
        progress=seen.append,
    )
    assert [counts.rows_done for counts in seen] == sorted(counts.rows_done for counts in seen)
    assert seen[-1].rows_done == copied.rows
    return copied


def _tables(source: SourceSite) -> list[str]:
    return [str(row[0]) for row in source.sql("SHOW TABLES")]


def _assert_equal(source: SourceSite, target: Target, tables: Sequence[str]) -> None:
    for table in tables:
        there = _content(source.mariadb, source.site.database, table)
        assert _content(source.mariadb, target.database.database, table) == there, table


async def test_every_row_of_every_table_arrives_byte_for_byte(source_site: SourceSite, target: Target) -> None:
    async with agent_of(source_site) as agent:
        copied = await _copy(agent, target)
    _assert_equal(source_site, target, _tables(source_site))
    assert copied.consistency == "SNAPSHOT"
    assert {table.name for table in copied.tables} == set(_tables(source_site))
    assert copied.rows == sum(int(str(source_site.sql(f"SELECT COUNT(*) FROM `{t}`")[0][0])) for t in _tables(source_site))
    assert json.loads(json.dumps(copied.to_json()))["rows"] == copied.rows
    await finish_tables(target.database, fence=1)
    await finish_tables(target.database, fence=1)
    assert {str(row[0]) for row in target.sql("SHOW TABLES")} == {*_tables(source_site), "wpclone_left"}


async def test_definitions_survive(source_site: SourceSite, target: Target) -> None:
    async with agent_of(source_site) as agent:
        await _copy(agent, target)
    for table in _tables(source_site):
        there = source_site.sql(f"SHOW CREATE TABLE `{table}`")[0][1]
        assert str(target.sql(f"SHOW CREATE TABLE `{table}`")[0][1]).replace(" ROW_FORMAT=DYNAMIC", "") == there


async def test_a_second_copy_of_a_finished_one_writes_nothing(source_site: SourceSite, target: Target) -> None:
    async with agent_of(source_site) as agent:
        first = await _copy(agent, target)
        again = await _copy(agent, target, fence=2)
    assert again.tables == first.tables
    _assert_equal(source_site, target, _tables(source_site))


class _Upper:
    """A rewriter that is easy to see, and that would be seen twice if it ran twice."""

    def could_match(self, raw: bytes) -> bool:
        return b"sample" in raw

    def value(self, raw: bytes) -> Result:
        return Result(raw.replace(b"sample", b"sample!sample"), raw.count(b"sample"), (Left(LeftReason.BASE64, 0),))


async def test_text_is_rewritten_once_and_bytes_and_passwords_never(source_site: SourceSite, target: Target) -> None:
    source_site.sql("UPDATE wp_users SET user_pass = 'sample' WHERE user_login = 'author'")
    source_site.sql("INSERT INTO wp_sample_events (site, number, happened, body) VALUES (0x73616d70, 7, NOW(), 'sample')")
    try:
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, target, rewriter=_Upper())
    finally:
        source_site.sql("DELETE FROM wp_sample_events WHERE site = 0x73616d70")
    assert copied.rewritten > 0
    there = {
        row[0]: str(row[1]).replace("sample", "sample!sample") for row in source_site.sql("SELECT ID, post_content FROM wp_posts")
    }
    assert {row[0]: row[1] for row in target.sql("SELECT ID, post_content FROM wp_posts")} == there
    assert target.sql("SELECT user_pass FROM wp_users WHERE user_login = 'author'") == [("sample",)]
    assert target.sql("SELECT body FROM wp_sample_events WHERE site = 0x73616d70") == [(b"sample",)]


_FILL = """INSERT INTO wp_big (k, a, t, b)
SELECT CONCAT('k', LPAD(seq, 7, '0')), seq, REPEAT(CONCAT('sample ', seq, ' '), 12), UNHEX(SHA2(seq, 256)) FROM seq_1_to_{rows}"""


@pytest.fixture
def big(source_site: SourceSite) -> Iterator[int]:
    rows = 60_000
    source_site.sql(
        "CREATE TABLE wp_big (k varchar(20), a int, t text, b varbinary(40), PRIMARY KEY (k, a), KEY a (a), FULLTEXT KEY t (t))"
    )
    source_site.sql(_FILL.format(rows=rows))
    source_site.sql("ANALYZE TABLE wp_big")
    try:
        yield rows
    finally:
        source_site.sql("DROP TABLE wp_big")


_SCRIPT = """
import asyncio, random, sys, time
from tests.integration.test_copy_tables import _Upper
from tests.support.source_site import LOCAL
from wpclone.wordpress import tables
from wpclone.wordpress.agent.client import AgentAddress, AgentClient
from wpclone.wordpress.inspect import inspect
from wpclone.wordpress.session import SiteSession
from wpclone.wordpress.tables import TargetDatabase, copy_tables

tables._COMMIT_BYTES = 500_000

async def main(url, key, user, password, port, fence):
    async with SiteSession(LOCAL, clock=time.time, chance=random.SystemRandom()) as session:
        agent = AgentClient(session, AgentAddress(url, bytes.fromhex(key)))
        target = TargetDatabase(user, password, user, port=int(port))
        await copy_tables(
            agent, await inspect(agent), target, rewriter=_Upper(), fence=int(fence),
            progress=lambda counts: print(counts.rows_done, flush=True),
        )

asyncio.run(main(*sys.argv[1:]))
"""


async def _start(agent: AgentClient, target: Target, fence: int) -> asyncio.subprocess.Process:
    database = target.database
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SCRIPT, agent.address.url, agent.address.key.hex(), database.user, database.password,
        str(database.port), str(fence), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_a_copy_killed_at_any_point_is_finished_with_every_row_once(
    source_site: SourceSite, target: Target, big: int
) -> None:
    chance = random.Random(5)
    async with agent_of(source_site) as agent:
        for fence in range(1, 6):
            process = await _start(agent, target, fence)
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 12)):
                await process.stdout.readline()
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.communicate()
        copied = await _copy(agent, target, fence=9, rewriter=_Upper())
    there = source_site.sql(
        "SELECT COUNT(*), SUM(CRC32(CONCAT(k, a, REPLACE(t, 'sample', 'sample!sample'), HEX(b)))) FROM wp_big"
    )
    assert target.sql("SELECT COUNT(*), SUM(CRC32(CONCAT(k, a, t, HEX(b)))) FROM wp_big") == there
    assert {table.name: table.rows for table in copied.tables}["wp_big"] == big
    keys = {str(row[2]) for row in target.sql("SHOW INDEX FROM wp_big")}
    assert keys == {"PRIMARY", "a", "t"}
    _assert_equal(source_site, target, ["wp_sample_notes", "wp_term_relationships", "wp_sample_events"])


async def test_the_checksum_does_not_depend_on_how_often_a_copy_was_resumed(
    source_site: SourceSite, target: Target, big: int
) -> None:
    async with agent_of(source_site) as agent:
        process = await _start(agent, target, 1)
        assert process.stdout is not None
        for _ in range(6):
            await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        resumed = await _copy(agent, target, fence=2, rewriter=_Upper())
        listed = left_of(target, "wp_big")
        for (table,) in target.sql("SHOW TABLES"):
            target.sql(f"DROP TABLE `{table}`")
        whole = await _copy(agent, target, fence=3, rewriter=_Upper())
    assert [_counted(table) for table in resumed.tables] == [_counted(table) for table in whole.tables]
    proof = next(table.proof for table in whole.tables if table.name == "wp_big")
    # k and t are text; each value gets a remark of this rewriter, and t has its word twelve times.
    assert (proof.seen, proof.left["BASE64"], proof.changed["text"], proof.rewritten) == (2 * big, 2 * big, big, 12 * big)
    assert listed == left_of(target, "wp_big")
    assert len(listed) == 2 * big


def left_of(target: Target, table: str) -> list[tuple[str, ...]]:
    """All that the copy's own list says was left in a table: key, column, reason, number of remarks."""
    asked = "SELECT row_key, column_name, reason, places FROM wpclone_left WHERE table_name = '{}' ORDER BY 1, 2, 3"
    return [tuple(_text(value) for value in row) for row in target.sql(asked.format(table))]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _counted(table: TableCopied) -> TableCopied:
    """All that is exact; which few of the places are kept depends on where ranges end."""
    return replace(table, proof=replace(table.proof, places=()))


async def test_a_frozen_worker_that_thaws_commits_nothing(source_site: SourceSite, target: Target, big: int) -> None:
    async with agent_of(source_site) as agent:
        process = await _start(agent, target, 1)
        assert process.stdout is not None
        for _ in range(5):
            await process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        try:
            await _copy(agent, target, fence=2, rewriter=_Upper())
        finally:
            process.send_signal(signal.SIGCONT)

        async def ended() -> bool:
            return process.returncode is not None

        reading = asyncio.create_task(process.communicate())
        await until_async(ended, within=60)
        await reading
    assert process.returncode != 0
    there = source_site.sql(
        "SELECT COUNT(*), SUM(CRC32(CONCAT(k, a, REPLACE(t, 'sample', 'sample!sample'), HEX(b)))) FROM wp_big"
    )
    assert target.sql("SELECT COUNT(*), SUM(CRC32(CONCAT(k, a, t, HEX(b)))) FROM wp_big") == there


async def test_an_older_claim_is_refused(source_site: SourceSite, target: Target) -> None:
    async with agent_of(source_site) as agent:
        await _copy(agent, target, fence=5)
        with pytest.raises(FencedOff):
            await _copy(agent, target, fence=4)
        with pytest.raises(FencedOff):
            await finish_tables(target.database, fence=4)


_DEFINITIONS = {
    "zero date": "CREATE TABLE wp_x (d datetime NOT NULL DEFAULT '0000-00-00 00:00:00', y year, PRIMARY KEY (d))",
    "zero id": "CREATE TABLE wp_x (id int NOT NULL AUTO_INCREMENT, v text, PRIMARY KEY (id))",
    "negative": "CREATE TABLE wp_x (id int NOT NULL, v text, PRIMARY KEY (id))",
    "text key": "CREATE TABLE wp_x (k varchar(60) COLLATE utf8mb4_unicode_ci NOT NULL, UNIQUE KEY k (k)) DEFAULT CHARSET=utf8mb4",
    "latin1": "CREATE TABLE wp_x (k varchar(60) NOT NULL, v text, PRIMARY KEY (k)) DEFAULT CHARSET=latin1",
    "binary key": "CREATE TABLE wp_x (k varbinary(60) NOT NULL, v longblob, PRIMARY KEY (k))",
    "decimal key": "CREATE TABLE wp_x (k decimal(20,6) NOT NULL, PRIMARY KEY (k))",
    "enum key": "CREATE TABLE wp_x (k enum('z','ä','a\\'b') NOT NULL, s set('x','y'), PRIMARY KEY (k)) DEFAULT CHARSET=utf8mb4",
    "time key": "CREATE TABLE wp_x (k time(3) NOT NULL, d date NOT NULL, PRIMARY KEY (k, d))",
    "myisam": "CREATE TABLE wp_x (a int NOT NULL, b int NOT NULL AUTO_INCREMENT, PRIMARY KEY (a, b)) ENGINE=MyISAM",
    "json": "CREATE TABLE wp_x (id int PRIMARY KEY, j json, v int AS (json_value(j, '$.a')) VIRTUAL)",
    "geometry": "CREATE TABLE wp_x (id int PRIMARY KEY, g point NOT NULL, SPATIAL KEY g (g))",
    "odd names": "CREATE TABLE wp_x (`we``ird col,umn` int PRIMARY KEY, `select` text COMMENT 'it''s; -- \\\\ ok')"
    " COMMENT='a \"table\"'",
    "utf16": "CREATE TABLE wp_x (k varchar(30) NOT NULL, PRIMARY KEY (k)) DEFAULT CHARSET=utf16",
    "partitions": "CREATE TABLE wp_x (id int PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 3",
    "bits": "CREATE TABLE wp_x (id bit(64) NOT NULL, f float, d double, PRIMARY KEY (id))",
    "check": "CREATE TABLE wp_x (id int PRIMARY KEY CHECK (id > 0), v varchar(9) DEFAULT concat('a', 'b'),"
    " CONSTRAINT big CHECK (id < 99))",
}
_VALUES = {
    "zero date": "('0000-00-00 00:00:00', 0), ('2024-02-29 10:00:00', 1999)",
    "zero id": "(0, 'zero'), (5, 'five')",
    "negative": "(-2147483648, 'a'), (-1, NULL), (0, ''), (7, 'b')",
    "text key": "('Ä'), ('b'), ('C'), ('d '), (''), ('\\\\')",
    "latin1": "('é', 'ü'), ('a', NULL), ('B', '')",
    "binary key": "(x'', x'00'), (x'00', x'27'), (x'ff5c27', x'0d0a'), (x'0000', NULL)",
    "decimal key": "(-1.5), (0), (1.000001), (99999999999999.999999)",
    "enum key": "('a\\'b', 'x,y'), ('z', ''), ('ä', NULL)",
    "time key": "('-100:00:00.5', '2000-01-01'), ('00:00:00', '0000-00-00'), ('10:00:00.125', '2000-01-01')",
    "myisam": "(1, 1), (1, 2), (2, 1)",
    "json": "(1, '{\"a\": 5}', DEFAULT), (2, NULL, DEFAULT)",
    "geometry": "(1, ST_GeomFromText('POINT(1.5 -2)')), (2, ST_GeomFromText('POINT(0 0)'))",
    "odd names": "(1, 'x')",
    "utf16": "('ä'), ('b')",
    "partitions": "(1), (2), (3), (4)",
    "bits": "(b'0', 0.1, 0.1), (b'1', 1e-38, 1e-300), (18446744073709551615, 3.4e38, 1.7976931348623157e308)",
    "check": "(1, DEFAULT), (2, 'x')",
}


@pytest.mark.parametrize("case", _DEFINITIONS)
async def test_unusual_tables_arrive_byte_for_byte(source_site: SourceSite, target: Target, case: str) -> None:
    mode = "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'"
    connection = source_site.mariadb.connect(source_site.site.database)
    try:
        with connection.cursor() as cursor:
            for statement in (mode, _DEFINITIONS[case], f"INSERT INTO wp_x VALUES {_VALUES[case]}"):
                cursor.execute(statement)
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            only = replace(report, tables=tuple(table for table in report.tables if table.name in ("wp_x", "wp_options")))
            copied = await _copy(agent, target, report=only)
        _assert_equal(source_site, target, ["wp_x", "wp_options"])
    finally:
        connection.close()
        source_site.sql("DROP TABLE IF EXISTS wp_x")
    assert {table.name: table.rows for table in copied.tables}["wp_x"] == _VALUES[case].count("), (") + 1


async def test_foreign_keys_come_after_the_data_and_broken_ones_are_reported(source_site: SourceSite, target: Target) -> None:
    source_site.sql("CREATE TABLE wp_y (id int PRIMARY KEY)")
    source_site.sql(
        "CREATE TABLE wp_x (id int PRIMARY KEY, y int, CONSTRAINT wp_x_y FOREIGN KEY (y) REFERENCES wp_y (id) ON DELETE CASCADE)"
    )
    source_site.sql("CREATE TABLE other (id int PRIMARY KEY)")
    source_site.sql("CREATE TABLE wp_z (id int PRIMARY KEY, o int, CONSTRAINT wp_z_o FOREIGN KEY (o) REFERENCES other (id))")
    source_site.sql("INSERT INTO wp_y VALUES (1)")
    source_site.sql("INSERT INTO wp_x VALUES (1, 1), (2, NULL)")
    try:
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, target)
    finally:
        for table in ("wp_x", "wp_z", "wp_y", "other"):
            source_site.sql(f"DROP TABLE {table}")
    assert "CONSTRAINT `wp_x_y` FOREIGN KEY" in str(target.sql("SHOW CREATE TABLE wp_x")[0][1])
    assert ("wp_z", "a foreign key to a table that is not copied was dropped") in {
        (item.name, item.reason) for item in copied.reported
    }


async def test_views_and_triggers_are_made_again_by_the_copys_own_user(source_site: SourceSite, target: Target) -> None:
    source_site.sql("CREATE VIEW wp_view AS SELECT 'it''s; http://sample/' AS one, '\\\\' AS two, link_name FROM wp_links")
    source_site.sql("CREATE VIEW wp_sleep AS SELECT SLEEP(0) AS zero")
    body = "SET NEW.link_rating = 1, NEW.link_rss = 'a;b'"
    source_site.sql(f"CREATE TRIGGER wp_trigger BEFORE INSERT ON wp_links FOR EACH ROW {body}")
    source_site.sql("CREATE TABLE other (id int)")
    source_site.sql("CREATE TRIGGER other_trigger BEFORE INSERT ON other FOR EACH ROW SET NEW.id = 1")
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            copied = await _copy(agent, target, report=report, rewriter=_Upper())
            await _copy(agent, target, report=report, fence=2, rewriter=_Upper())
    finally:
        source_site.sql("DROP TRIGGER wp_trigger")
        source_site.sql("DROP TABLE other")
        source_site.sql("DROP VIEW wp_view, wp_sleep")
    assert report.views == ("wp_sleep", "wp_view")
    assert [(item.name, item.reason) for item in copied.reported] == [("wp_sleep", "a view; not copied: sleep")]
    target.sql("INSERT INTO wp_links (link_name, link_notes) VALUES ('n', '')")
    assert target.sql("SELECT link_rating, link_rss FROM wp_links") == [(1, "a;b")]
    assert target.sql("SELECT one, two FROM wp_view") == [("it's; http://sample!sample/", "\\")]
    user = target.database.user
    definer = f"SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{user}'"
    assert target.sql(definer) == [(f"{user}@127.0.0.1",)]
    security = f"SELECT SECURITY_TYPE, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{user}'"
    assert target.sql(security) == [("INVOKER", f"{user}@127.0.0.1")]


async def test_a_target_that_is_down_is_told_as_transient(source_site: SourceSite, target: Target) -> None:
    async with agent_of(source_site) as agent:
        report = await inspect(agent)
        with pytest.raises(SiteError) as down:
            await _copy(agent, Target(target.mariadb, replace(target.database, port=1)), report=report)
        assert (down.value.reason, down.value.transient) == (Reason.TARGET_DATABASE_DOWN, True)
        with pytest.raises(SiteError) as refused:
            await _copy(agent, Target(target.mariadb, replace(target.database, password="wrong")), report=report)
        assert (refused.value.reason, refused.value.transient) == (Reason.TARGET_DATABASE_REFUSED, False)
        assert "wrong" not in repr(refused.value)


async def test_what_the_rewriter_did_is_counted_exactly_and_what_it_left_is_named(
    source_site: SourceSite, target: Target
) -> None:
    url = source_site.url
    rewriter = SiteRewriter(Mapping.of([url], "http://clone-0123456789ab.localhost:8080"))
    values = [
        f"{url}/a and {url}/b", f's:{len(url)}:"{url}";', json.dumps({"u": url}),
        base64.b64encode(f"<a href='{url}/x'>".encode()).decode(),
        f's:3:"{url}";', "nothing of it",
    ]  # fmt: skip
    for number, value in enumerate(values):
        source_site.sql("INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (99, %s, %s)", f"_proof_{number}", value)
    ids = [row[0] for row in source_site.sql("SELECT meta_id FROM wp_postmeta WHERE post_id = 99 ORDER BY meta_id")]
    try:
        async with agent_of(source_site) as agent:
            copied = await _copy(agent, target, rewriter=rewriter)
        stored = [
            str(row[0]).encode() for row in source_site.sql("SELECT meta_value FROM wp_postmeta WHERE meta_value IS NOT NULL")
        ]
        keys = len(source_site.sql("SELECT meta_key FROM wp_postmeta WHERE meta_key IS NOT NULL"))
    finally:
        source_site.sql("DELETE FROM wp_postmeta WHERE post_id = 99")
    proof = next(table.proof for table in copied.tables if table.name == "wp_postmeta")
    done = [rewriter.value(value) for value in stored]
    assert proof.seen == keys + len(stored)
    assert proof.changed == Counter(str(one.format) for one, old in zip(done, stored, strict=True) if one.value is not old)
    assert {"text", "serialized", "json"} == set(proof.changed)
    expected = {(f"meta_id={ids[3]}", "meta_value", "BASE64"), (f"meta_id={ids[4]}", "meta_value", "BROKEN_SERIALIZED")}
    assert {tuple(place) for place in proof.places} >= expected
    assert proof.left["BASE64"] == 1
    listed = left_of(target, "wp_postmeta")
    assert {row[:3] for row in listed} >= expected
    assert sum(int(row[3]) for row in listed) == sum(proof.left.values())
    told = copied.to_json()
    assert sum(table["rewritten"] for table in told["tables"]) == copied.rewritten


async def _packet(size: int) -> int:
    return size


async def test_a_row_larger_than_a_packet_is_put_together_at_the_target(
    source_site: SourceSite, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_site.sql("CREATE TABLE wp_x (id int PRIMARY KEY, a longtext, b longblob, j json, v varchar(9))")
    source_site.sql(
        "INSERT INTO wp_x VALUES (1, REPEAT('it\\'s \\\\ \n', 200000), REPEAT(x'005c27ff', 300000),"
        " CONCAT('[', REPEAT('1,', 300000), '1]'), 'x'),"
        " (2, 'small', NULL, NULL, '')"
    )
    monkeypatch.setattr("wpclone.wordpress.tables.known_packet", lambda connection: _packet(4 << 20))
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            only = replace(report, tables=tuple(table for table in report.tables if table.name in ("wp_x", "wp_options")))
            await _copy(agent, target, report=only)
            _assert_equal(source_site, target, ["wp_x"])
            target.sql("DROP TABLE wp_x, wp_options, wpclone_control")
            monkeypatch.setattr("wpclone.wordpress.tables.known_packet", lambda connection: _packet(1 << 20))
            with pytest.raises(SiteError) as refused:
                await _copy(agent, target, report=only)
    finally:
        source_site.sql("DROP TABLE wp_x")
    assert (refused.value.reason, refused.value.metadata["table"]) == (Reason.TARGET_DATABASE_REFUSED, "wp_x")
    assert "max_allowed_packet" in refused.value.message


async def test_a_table_that_is_gone_or_broken_since_the_preflight_is_left_out_and_told(
    source_site: SourceSite, target: Target
) -> None:
    source_site.sql("CREATE TABLE wp_gone (id int PRIMARY KEY)")
    try:
        async with agent_of(source_site) as agent:
            report = await inspect(agent)
            source_site.sql("DROP TABLE wp_gone")
            copied = await _copy(agent, target, report=report)
    finally:
        source_site.sql("DROP TABLE IF EXISTS wp_gone")
    assert [item.name for item in copied.reported] == ["wp_gone"]
    assert "error 1146" in copied.reported[0].reason
    _assert_equal(source_site, target, _tables(source_site))
