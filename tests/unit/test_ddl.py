"""Foreign table definitions, parsed and written anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpclone.wordpress.ddl import UnknownDdl, parse_table
from wpclone.wordpress.ddl_tokens import Reader, text, tokens
from wpclone.wordpress.table_definition import Server

MARIADB = Server(
    frozenset({"utf8mb4_general_ci", "utf8mb4_unicode_520_ci", "utf8mb4_unicode_ci", "utf8mb4_bin", "utf8mb3_general_ci",
               "utf8mb3_bin",
               "latin1_swedish_ci", "utf8mb3_unicode_520_ci", "utf8mb4_swedish_ci"}),
    frozenset({"utf8mb4", "utf8mb3", "latin1", "binary"}),
)  # fmt: skip

POSTS = b"""CREATE TABLE `wp_posts` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `post_author` bigint(20) unsigned NOT NULL DEFAULT '0',
  `post_date` datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  `post_content` longtext COLLATE utf8mb4_0900_ai_ci NOT NULL,
  `post_name` varchar(200) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci NOT NULL DEFAULT '',
  PRIMARY KEY (`ID`),
  KEY `post_name` (`post_name`(191)),
  KEY `type_status_date` (`post_date`,`ID`) USING BTREE,
  FULLTEXT KEY `words` (`post_content`) /*!50100 WITH PARSER `ngram` */
) ENGINE=MyISAM AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci ROW_FORMAT=COMPACT KEY_BLOCK_SIZE=8
 DATA DIRECTORY='/tmp/x' INDEX DIRECTORY='/tmp/x' COMMENT='it''s' /*!50100 TABLESPACE `innodb_system` */"""


def _made(definition: bytes) -> bytes:
    return parse_table(definition, server=MARIADB).create()


def test_a_mysql_8_table_becomes_one_mariadb_takes() -> None:
    table = parse_table(POSTS, server=MARIADB)
    made = table.create()
    assert b"utf8mb4_unicode_520_ci" in made
    assert b"0900" not in made
    assert b"ENGINE=InnoDB" in made
    assert b"ROW_FORMAT=DYNAMIC" in made
    assert b"AUTO_INCREMENT=77" in made
    assert b"COMMENT='it''s'" in made
    for dropped in (b"DIRECTORY", b"TABLESPACE", b"KEY_BLOCK_SIZE", b"PARSER", b"COMPACT"):
        assert dropped not in made
    assert table.mapped == {b"post_content"}
    assert table.engine == "MyISAM"


def test_exact_gives_unknown_collations_their_binary_one() -> None:
    made = parse_table(POSTS, server=MARIADB, exact=True).create()
    assert b"`post_content` longtext COLLATE utf8mb4_bin NOT NULL" in made


def test_slow_indexes_can_wait_but_not_unique_ones_nor_the_counters() -> None:
    table = parse_table(POSTS, server=MARIADB)
    later = table.deferrable()
    assert [key.name for key in later] == [b"post_name", b"type_status_date", b"words"]
    made = table.create(defer=later)
    assert b"PRIMARY KEY (`ID`)" in made
    assert b"FULLTEXT" not in made
    counted = parse_table(
        b"CREATE TABLE `t` (`a` int NOT NULL, `n` int AUTO_INCREMENT, PRIMARY KEY (`a`), KEY `n` (`n`)) ENGINE=InnoDB",
        server=MARIADB,
    )
    assert counted.deferrable() == []


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_ci"), ("utf8mb4_0900_as_cs", "utf8mb4_bin"),
        ("utf8mb4_0900_bin", "utf8mb4_bin"),
        ("utf8mb4_sv_0900_ai_ci", "utf8mb4_unicode_520_ci"), ("utf8_general_ci", "utf8mb3_general_ci"),
        ("utf8_bin", "utf8mb3_bin"),
        ("utf8mb4_uca1400_ai_ci", "utf8mb4_unicode_520_ci"), ("utf8mb4_swedish_ci", "utf8mb4_swedish_ci"),
        ("gb18030_chinese_ci", "utf8mb4_unicode_520_ci"), ("latin1_swedish_ci", "latin1_swedish_ci"),
    ],
)  # fmt: skip
def test_collations_are_mapped_to_the_nearest(wanted: str, chosen: str) -> None:
    assert MARIADB.collation(wanted) == chosen


def test_foreign_keys_stand_apart_and_stay_in_the_database() -> None:
    table = parse_table(
        b"CREATE TABLE `t` (`a` int, CONSTRAINT `k` FOREIGN KEY (`a`) REFERENCES `o` (`id`) ON DELETE SET NULL, "
        b"CONSTRAINT `x` FOREIGN KEY (`a`) REFERENCES `mysql`.`user` (`id`)) ENGINE=InnoDB",
        server=MARIADB,
    )
    assert [key.sql for key in table.foreign_keys] == [
        b"CONSTRAINT `k` FOREIGN KEY (`a`) REFERENCES `o` (`id`) ON DELETE SET NULL"
    ]
    assert b"FOREIGN" not in table.create()
    assert "another database" in " ".join(table.notes)


_KEPT = [
    b"`a` enum('x','it''s','\\\\') NOT NULL DEFAULT 'x'",
    b"`a` decimal(10,4) unsigned zerofill DEFAULT NULL",
    b"`a` timestamp(6) NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)",
    b"`a` bit(5) NOT NULL DEFAULT b'0'",
    b"`a` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`a`))",
    b"`a` double GENERATED ALWAYS AS (`b` * 2 + sqrt(3)) STORED",
    b"`a` varchar(36) DEFAULT uuid()",
    b"`a` int DEFAULT -5 COMMENT 'a `quoted` -- ; comment'",
]


@pytest.mark.parametrize("column", _KEPT)
def test_columns_come_back_as_they_were(column: bytes) -> None:
    made = _made(b"CREATE TABLE `t` (\n  " + column + b"\n) ENGINE=InnoDB")
    wanted = column.replace(b"unsigned zerofill", b"UNSIGNED ZEROFILL")
    assert wanted in made


_REFUSED = [
    b"CREATE TABLE `t` (`a` int) ENGINE=InnoDB; DROP DATABASE x",
    b"CREATE TABLE `t` (`a` int) ENGINE=FEDERATED CONNECTION='mysql://x'",
    b"CREATE TABLE `t` (`a` int) ENGINE=CONNECT",
    b"CREATE TABLE `t` (`a` int DEFAULT (SELECT 1)) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int DEFAULT nextval(`s`)) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` text DEFAULT (load_file('/etc/passwd'))) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int DEFAULT @x) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int -- x\n) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int # x\n) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int, CHECK (sleep(5))) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` wonder) ENGINE=InnoDB",
    b"CREATE TABLE `t` (`a` int) AS SELECT * FROM mysql.user",
    b"CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` VIEW `t` AS SELECT 1",
    b"CREATE TABLE `t` (`a` int",
    b"CREATE TABLE `t` () ENGINE=InnoDB",
    b"",
]


@pytest.mark.parametrize("definition", _REFUSED)
def test_what_is_not_a_tables_definition_is_refused(definition: bytes) -> None:
    with pytest.raises(UnknownDdl):
        _made(definition)


def test_what_was_left_is_said() -> None:
    table = parse_table(
        b"CREATE TABLE `t` (`a` int, KEY `e` ((`a` + 1)), PERIOD FOR SYSTEM_TIME (`s`, `e`)) ENGINE=TokuDB "
        b"WITH SYSTEM VERSIONING PARTITION BY HASH (`a`) PARTITIONS 4",
        server=MARIADB,
    )
    said = " ".join(table.notes)
    for word in ("expression", "versioning", "TokuDB", "partitions"):
        assert word in said


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(junk: bytes) -> None:
    for definition in (junk, b"CREATE TABLE `t` (" + junk + b") ENGINE=InnoDB", POSTS[: len(junk)] + junk):
        try:
            parse_table(definition, server=MARIADB)
        except UnknownDdl:
            continue


def test_tokens_keep_every_byte_that_is_not_space() -> None:
    assert b"".join(token.raw for token in tokens(b"a `b``c` 'd''e\\'f' 1.5e3 <=> (x)")) == b"a`b``c`'d''e\\'f'1.5e3<=>(x)"
    assert text(tokens(b"f(a,  b)")) == b"f(a, b)"
    assert [token.raw for token in Reader(tokens(b"((a),(b))c")).group()] == [
        b"(",
        b"(",
        b"a",
        b")",
        b",",
        b"(",
        b"b",
        b")",
        b")",
    ]
