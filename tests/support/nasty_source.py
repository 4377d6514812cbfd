"""A source with as many at once of the things that break copies as one site can have, on a shared host's PHP.

WordPress is in a directory (`/blog`), its wp-config.php one level up, its content outside of both behind an Alias, as Debian has
it.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import SERVICE, Mariadb
from tests.support.source_site import SourceSite, running_source_site
from tests.support.wait import until
from wpclone.standalone.demo.web import Visitor

PREFIX = "Wp2_"
BIG_BYTES = 17 << 20
"""One value larger than MariaDB's own largest packet of 16 MiB; with its copies more than the source's PHP may use."""

UNREADABLE = ("wp-content/uploads/secret.txt", "wp-content/uploads/locked")
LINKS_LEFT_OUT = ("wp-content/uploads/link-dead", "wp-content/uploads/link-circle", "wp-content/uploads/link-config")
NESTED = "nested"

_TEXTS = {
    "latin1": "café ÿ €", "latin2": "žluť", "latin5": "ışık", "latin7": "ķēniņš", "cp1250": "žluť", "cp1251": "Привет",
    "cp1256": "مرحبا", "cp1257": "ķēniņš", "cp850": "café", "cp852": "žluť",
    "cp866": "Привет", "koi8r": "Привет", "koi8u": "Привіт",
    "greek": "Καλημέρα", "hebrew": "שלום", "tis620": "สวัสดี",
    "ascii": "plain", "gbk": "你好，誠\\碁", "gb2312": "你好",
    "big5": "功許蓋", "sjis": "表示ソ予", "cp932": "表示ソ～", "ujis": "表示", "eucjpms": "表示", "euckr": "안녕",
    "utf8mb3": "你好é", "utf8mb4": "🎉é",
    "ucs2": "你好é", "utf16": "🎉é", "utf16le": "🎉é", "utf32": "🎉é",
    "macroman": "café", "macce": "žluť", "armscii8": "armenian",
    "geostd8": "georgian", "dec8": "café", "hp8": "café", "swe7": "swe", "keybcs2": "žluť",
}  # fmt: skip
"""Something of each character set MariaDB has; backslashes are the second bytes of some of these characters."""

CHARSETS = tuple(_TEXTS)

_TABLES = """
CREATE TABLE {p}Mixed_Case (Id int NOT NULL, VAL varchar(20), PRIMARY KEY (Id));
INSERT INTO {p}Mixed_Case VALUES (1, 'a'), (2, 'B');
CREATE TABLE {p}nokey (a varchar(30), b text, KEY a (a)) DEFAULT CHARSET=utf8mb4;
INSERT INTO {p}nokey VALUES ('same', '{url}/x'), ('same', '{url}/x'), (NULL, ''), ('', NULL);
CREATE TABLE {p}unsigned (a bigint unsigned NOT NULL, b bigint unsigned NOT NULL, c varchar(9), PRIMARY KEY (a, b));
INSERT INTO {p}unsigned VALUES (0, 18446744073709551615, 'x'), (9223372036854775808, 0, 'y'),
 (18446744073709551615, 18446744073709551615, 'z');
CREATE TABLE {p}generated (id int NOT NULL AUTO_INCREMENT, j longtext, v varchar(50) AS (json_value(j, '$.a')) VIRTUAL,
 s varchar(20) AS (json_value(j, '$.b')) STORED, PRIMARY KEY (id), UNIQUE KEY v (v));
INSERT INTO {p}generated (id, j) VALUES (0, '{{"a": "zero"}}'), (7, '{{"a": "seven", "b": 7, "u": "{json}"}}');
CREATE TABLE {p}parent (id int NOT NULL, child int, PRIMARY KEY (id)) ENGINE=InnoDB;
CREATE TABLE {p}child (id int NOT NULL, parent int, PRIMARY KEY (id),
 CONSTRAINT {p}child_parent FOREIGN KEY (parent) REFERENCES {p}parent (id) ON DELETE CASCADE) ENGINE=InnoDB;
INSERT INTO {p}parent VALUES (1, 1);
INSERT INTO {p}child VALUES (1, 1), (2, NULL);
ALTER TABLE {p}parent ADD CONSTRAINT {p}parent_child FOREIGN KEY (child) REFERENCES {p}child (id);
CREATE TABLE {p}dates (d datetime NOT NULL DEFAULT '0000-00-00 00:00:00', e date, t timestamp NULL, k time(6), y year,
 PRIMARY KEY (d));
INSERT INTO {p}dates VALUES ('0000-00-00', '2024-00-00', NULL, '-838:59:59', 0),
 ('2024-02-30', '9999-12-31', '1970-01-02', '1:2:3.5', 2155);
CREATE TABLE {p}bytes (id binary(16) NOT NULL, b varbinary(300), c blob, f float, d double, g bit(64), n decimal(65,30),
 PRIMARY KEY (id));
INSERT INTO {p}bytes VALUES (x'00', x'{all}', x'{all}', 0.1, 1e-300, 18446744073709551615, -1.5),
 (x'0000275c', '', NULL, 3.4e38, 0.1, b'1', 0);
CREATE TABLE {p}labels (id int NOT NULL, e enum('é','x'), s set('é','ß'), PRIMARY KEY (id)) DEFAULT CHARSET=latin1;
INSERT INTO {p}labels VALUES (1, 'é', 'é,ß'), (2, 'x', ''), (3, NULL, NULL);
CREATE TABLE {p}isam (a int NOT NULL, b int NOT NULL AUTO_INCREMENT, v text, PRIMARY KEY (a, b)) ENGINE=MyISAM;
INSERT INTO {p}isam VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, '{url}/');
CREATE TABLE {p}parts (id int NOT NULL, PRIMARY KEY (id)) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO {p}parts VALUES (1), (2), (-3);
CREATE TABLE {p}places (id int NOT NULL, g geometry NOT NULL, PRIMARY KEY (id));
INSERT INTO {p}places VALUES (1, ST_GeomFromText('POINT(1.5 -2)'));
CREATE TABLE {p}big (id int NOT NULL, t longtext, b longblob, PRIMARY KEY (id)) DEFAULT CHARSET=utf8mb4;
INSERT INTO {p}big VALUES (1, 'small', 'x'), (3, '{url}/', NULL),
 (2, CONCAT('{url}/', REPEAT('größer ', {big} DIV 9)), REPEAT(x'{all}', 8192));
CREATE VIEW {p}latest AS SELECT ID, post_title FROM {p}posts WHERE post_status = 'publish';
CREATE VIEW {p}first AS SELECT l.ID, '{url}/' AS home FROM {p}latest l;
CREATE VIEW {p}zforeign AS SELECT id FROM forum_users;
CREATE TRIGGER {p}stamp BEFORE INSERT ON {p}Mixed_Case FOR EACH ROW
 BEGIN IF NEW.VAL IS NULL THEN SET NEW.VAL = 'none'; END IF; END;
CREATE TABLE {p}old_options LIKE {p}options;
CREATE TABLE {p}old_posts LIKE {p}posts;
CREATE TABLE {p}old_postmeta LIKE {p}postmeta;
CREATE TABLE {p}old_comments LIKE {p}comments;
CREATE TABLE {p}old_terms LIKE {p}terms;
CREATE TABLE {p}old_term_taxonomy LIKE {p}term_taxonomy;
"""
OTHERS = (
    "forum_users",
    *(f"{PREFIX}old_{name}" for name in ("options", "posts", "postmeta", "comments", "terms", "term_taxonomy")),
)
"""Tables in the same database that are another application's, or another WordPress's whose prefix begins like ours."""

_APACHE = """
Alias /blog/wp-content {place}/content
<Directory {place}/content>
    AllowOverride All
    Options FollowSymLinks
    Require all granted
</Directory>
php_admin_value memory_limit 64M
php_admin_value max_execution_time 30
php_admin_value upload_max_filesize 2M
php_admin_value post_max_size 2M
"""


@contextmanager
def running_nasty_source(mariadb: Mariadb) -> Iterator[SourceSite]:
    """The site, gone afterwards."""
    with running_source_site(mariadb, upload_bytes=300_000, posts=2, path="/blog", table_prefix=PREFIX) as source:
        _lay_out(source)
        _fill(source)
        _scatter(source.place / "content" / "uploads", source)
        with (source.place / "apache.conf").open("a") as config:
            config.write(_APACHE.format(place=source.place))
        os.kill(source.site.child.pid, signal.SIGUSR1)  # the parent alone: it reads its configuration again
        until(lambda: Visitor().get(f"{source.url}/wp-content/index.php").status == 200, within=20)
        yield source


def _lay_out(source: SourceSite) -> None:
    """The configuration one level up, the content elsewhere."""
    config, content = source.docroot / "wp-config.php", source.place / "content"
    (source.docroot / "wp-content").rename(content)
    settings = f"define('WP_CONTENT_DIR', '{content}');\ndefine('WP_CONTENT_URL', '{source.url}/wp-content');\n"
    boot = "define('ABSPATH', __DIR__ . '/blog/');"
    text = (
        config.read_text().replace("$table_prefix", settings + "$table_prefix").replace("define('ABSPATH', __DIR__ . '/');", boot)
    )
    (source.docroot.parent / "wp-config.php").write_text(text)
    config.unlink()
    for place in (source.docroot.parent / "wp-config.php", source.docroot.parent):
        SERVICE.own(place)
    for name in ("wp-settings.php", "wp-load.php", "wp-config.php", "wp-includes/version.php", "index.php"):
        source.put(f"{NESTED}/{name}", b"<?php // another site\n")


def _fill(source: SourceSite) -> None:
    every_byte = bytes(range(256)).hex()
    url = source.url
    script = _TABLES.format(p=PREFIX, url=url, json=url.replace("/", "\\\\/"), all=every_byte, big=BIG_BYTES)
    connection = source.mariadb.connect(source.site.database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks = 0")
            cursor.execute("CREATE TABLE forum_users (id int PRIMARY KEY)")
            for statement in script.strip().split(";\n"):
                cursor.execute(statement.removesuffix(";"))
            columns = ", ".join(f"c_{name} varchar(90) CHARACTER SET {name}" for name in CHARSETS)
            cursor.execute(f"CREATE TABLE {PREFIX}charsets (k varchar(20) CHARACTER SET utf16 NOT NULL PRIMARY KEY, {columns})")
            values = [f"{url}/ {text}" for text in _TEXTS.values()]
            cursor.execute(f"INSERT INTO {PREFIX}charsets VALUES ('ключ', {', '.join(['%s'] * len(values))})", values)
            paths = f'a:1:{{s:3:"dir";s:{len(str(source.place)) + 16}:"{source.place}/content/uploads";}}'
            cursor.execute(
                f"INSERT INTO {PREFIX}options (option_name, option_value) VALUES ('nasty_dir', %s), ('nasty_core', %s)",
                (paths, f"{source.docroot}/wp-admin"),
            )
    finally:
        connection.close()


def _scatter(uploads: Path, source: SourceSite) -> None:
    """Files with names and rights that few tools survive."""
    names = [
        b"na\xc3\xafve.txt", b"nai\xcc\x88ve.txt", b"not-utf8-\xff\xfe.txt", b"new\nline.txt", b"back\\slash.txt",
        b"quo'te\".txt", b"-dash",
        b"trailing ", b" leading", b"per%20cent.txt", b"hash#question?.txt", b"semi;colon.txt", b"tab\there", b"a" * 250,
        "日本語.txt".encode(), b"empty.bin", b"$(touch x).txt", b"CON", b"dot.",
    ]  # fmt: skip
    directory = os.fsencode(uploads)
    for name in names:
        Path(os.fsdecode(directory + b"/" + name)).write_bytes(b"" if name == b"empty.bin" else name)
    deep = uploads / "/".join(f"level-{i}" for i in range(30))
    deep.mkdir(parents=True)
    (deep / "deep.txt").write_text("deep")
    (uploads / "empty-directory").mkdir()
    (uploads / "five.bin").write_bytes(os.urandom(5 << 20))
    outside = source.place / "outside"
    outside.mkdir()
    (outside / "shown.txt").write_text("from outside")
    links = {
        "link-in": "five.bin", "link-absolute": uploads / "empty.bin", "link-out": outside, "link-dead": "/nowhere",
        "link-circle": source.place, "link-core": source.docroot / "wp-admin/images",
        "link-config": source.docroot.parent / "wp-config.php",
    }  # fmt: skip
    for link, target in links.items():
        (uploads / link).symlink_to(str(target))
    for path in [uploads, *uploads.rglob("*"), outside, outside / "shown.txt"]:
        os.chown(path, SERVICE.uid, SERVICE.gid, follow_symlinks=False)
    (uploads / "secret.txt").write_text("only for root")
    (uploads / "locked").mkdir()
    (uploads / "locked" / "inside.txt").write_text("only for root")
    for path in (uploads / "secret.txt", uploads / "locked"):
        path.chmod(0)
