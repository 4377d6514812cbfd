"""A dump rewritten as a stream and loaded into a real MariaDB holds what rewriting each value gives."""

import json
import random
import subprocess

from tests.support.php_values import php, php_object
from tests.support.servers import Mariadb
from wpclone.wordpress.rewrite import Mapping, Rewriter, rewrite_stream

URL = "https://example.com"
MAPPING = Mapping.of([URL], "http://c1.localhost:8080", [("/var/www/html", "/srv/c1")])


def values() -> list[bytes]:
    picked = random.Random(7)
    noise = [bytes(picked.randrange(256) for _ in range(200)) for _ in range(30)]
    structured = [
        php({"u": f"{URL}/x", "quotes": 'it\'s "so" \\ \0 \n \r \x1a \t %_', "dir": "/var/www/html/wp-content"}),
        php(php_object("Foo", {b"\0Foo\0u": URL})),
        json.dumps({"o": php({"u": URL}).decode(), "é": f"{URL}/ü"}).encode(),
        f"<a href='{URL}'>it''s</a> -- {URL} /* {URL} */ # {URL}".encode(),
        b"\\' " + URL.encode() + b" \\",
        f"{URL}/a.mp3\n12\naudio/mpeg\n".encode() + php({"d": URL}),
        b'a:1:{i:0;s:3:"https://example.com";}',
        b"",
    ]
    return structured + [one + b" " + URL.encode() + b" " + one for one in noise] + noise


def quoted(value: bytes) -> bytes:
    """As mysqldump writes a string, and as phpMyAdmin does: quotes escaped or doubled in turn."""
    for plain, escape in ((b"\\", b"\\\\"), (b"\0", b"\\0"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\x1a", b"\\Z"), (b'"', b'\\"')):
        value = value.replace(plain, escape)
    return b"'" + value.replace(b"'", b"\\'" if len(value) % 2 else b"''") + b"'"


def test_a_dump_rewritten_as_a_stream_and_loaded_by_the_real_client_holds_each_value_rewritten(mariadb_server: Mariadb) -> None:
    rows, rewriter = values(), Rewriter(MAPPING)
    with mariadb_server.database() as target:
        inserted = b",\n".join(b"(%d,_binary %s,NULL)" % (number, quoted(value)) for number, value in enumerate(rows))
        dumped = b"-- a dump\nSET NAMES utf8mb4;\nCREATE TABLE `it's` (id INT PRIMARY KEY, b LONGBLOB, n TEXT NULL);\n"
        dumped += b"INSERT INTO `it's` VALUES " + inserted + b";\n"
        pieces = (dumped[at : at + 1000] for at in range(0, len(dumped), 1000))
        rewritten = b"".join(rewrite_stream(pieces, MAPPING))
        access = ["-h127.0.0.1", f"-P{mariadb_server.place.port}", "-uroot", f"-p{mariadb_server.password}"]
        subprocess.run(["mariadb", *access, "--binary-mode", target], input=rewritten, check=True, timeout=60)
        loaded = [row[0] for row in mariadb_server.execute("SELECT b FROM `it's` ORDER BY id", database=target)]
    assert loaded == [rewriter.value(value).value for value in rows]
    assert dumped != rewritten
