"""Streams: the same bytes however they arrive, memory bounded by one value, SQL read as SQL."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.php_values import php
from wpclone.wordpress.rewrite import Mapping, Rewriter, Tally, rewrite_stream
from wpclone.wordpress.rewrite.sql_dump import is_dump

SOURCE, TARGET = "https://example.com", "https://clone-1a2b3c.clones.test"
MAPPING = Mapping.of([SOURCE], TARGET)


def streamed(data: bytes, size: int = 1 << 16, tally: Tally | None = None) -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(rewrite_stream(pieces, MAPPING, tally))


def quoted(value: bytes) -> bytes:
    """As mysqldump writes a string."""
    for plain, escape in ((b"\\", b"\\\\"), (b"\0", b"\\0"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b'"', b'\\"'), (b"'", b"\\'")):
        value = value.replace(plain, escape)
    return b"'" + value + b"'"


HEAD = b"-- MariaDB dump 10.19\n/*!40101 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `wp_options`;\n"


def dump(url: str) -> bytes:
    option = php({"url": f"{url}/x", "text": 'it\'s "quoted" \\ and\nbroken', "json": json.dumps({"u": url})})
    rows = [
        b"(1,'plain " + url.encode() + b"',NULL)",
        b"(2," + quoted(option) + b",0x68747470)",
        b"(3,'it''s ''quoted'' " + url.encode() + b"''s',_binary '\\0\\\\')",
        b'(4,"double ""quoted"" ' + url.encode() + b"\\\"\",'')",
        b"(5,'" + json.dumps({"u": f"{url}/x"}).replace("/", "\\/").replace("\\", "\\\\").encode() + b"','\\\\')",
        b"(6," + quoted(php([php({"u": url}), b"\0*\0"])) + b",'')",
    ]
    create = b"CREATE TABLE `wp_options` (`o'k` text DEFAULT 'x' COMMENT 'it''s -- no comment'); # it's a comment\n"
    code = (
        b"/*!50003 SET @a = "
        + quoted(f"{url}/in code".encode())
        + b" */;\n/* it's one; */ SELECT 1 - 2 / 3 --1\n;\n-- don't\n--\n"
    )
    return HEAD + create + code + b"INSERT INTO `wp_options` VALUES " + b",\n".join(rows) + b";\n"


def test_a_dump_is_rewritten_literal_by_literal() -> None:
    tally = Tally()
    assert streamed(dump(SOURCE), tally=tally) == dump(TARGET)
    assert tally.rewritten == 8
    assert not tally.left


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_a_dump_may_arrive_in_pieces_of_any_size(size: int) -> None:
    assert streamed(dump(SOURCE), size) == dump(TARGET)


@given(
    st.lists(
        st.sampled_from([b"'", b"''", b"\\", b'"', b"`", b"-- ", b"/*", b"*/", b"#", b"\n", b"x", SOURCE.encode(), b"/*!", b",("])
    )
)
def test_whatever_a_dump_holds_it_ends_and_only_addresses_change(pieces: list[bytes]) -> None:
    data = HEAD + b"".join(pieces)
    result = streamed(data, 5)
    assert result.replace(TARGET.encode(), SOURCE.encode()) == data


def test_comments_and_names_of_a_dump_stay() -> None:
    data = HEAD + b"-- from https://example.com\nINSERT INTO `https://example.com` VALUES (1) /* https://example.com */;\n"
    assert streamed(data) == data


def test_a_dump_cut_short_passes_with_its_last_literal_as_it_is() -> None:
    data = HEAD + b"INSERT INTO `t` VALUES ('https://example.com'),('https://example.com/cut"
    assert streamed(data) == data.replace(b"('https://example.com')", b"('https://clone-1a2b3c.clones.test')")


def test_a_literal_larger_than_a_part_is_one_value() -> None:
    def large(url: str) -> bytes:
        return HEAD + b"INSERT INTO `t` VALUES (" + quoted(php({"u": url, "big": "it's\n" * 200_000, "v": url})) + b");\n"

    assert streamed(large(SOURCE)) == large(TARGET)


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (HEAD, True),
        (b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\nSET NAMES x;\n", True),
        (b"\nINSERT INTO wp_posts VALUES (1);", True),
        (b'{"a": "INSERT INTO x"}', False),
        (b"-- a list\n-- of thoughts", False),
        (b"Create something.\nhttps://example.com", False),
        (b"", False),
    ],
)
def test_a_dump_is_told_by_its_beginning(head: bytes, answer: bool) -> None:
    assert is_dump(head) is answer


def lines(url: str) -> bytes:
    records = [
        json.dumps({"id": 1, "opt": php({"u": url}).decode()}).encode(),
        php({"whole": url}),
        b"",
        b"text " + url.encode() + b"\r",
        f"{url}/a.mp3\n1234\naudio/mpeg\n".encode() + php({"two": f"lines\n{url}\nthree"}),
        b"last " + url.encode(),
    ]
    return b"\n".join(records)


@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_lines_are_rewritten_one_by_one_and_together_where_a_string_runs_over_them(size: int) -> None:
    assert streamed(lines(SOURCE), size) == lines(TARGET)


def test_a_string_over_many_parts_is_one_value() -> None:
    def large(url: str) -> bytes:
        return b"x\n" + php({"u": url, "big": "line\n" * 300_000, "v": url}) + b"\nend " + url.encode() + b"\n"

    assert streamed(large(SOURCE)) == large(TARGET)


def test_what_a_line_leaves_is_tallied() -> None:
    tally = Tally()
    data = b'a:1:{i:0;s:3:"https://example.com";}\nfine\nexample.com\n'
    assert streamed(data, tally=tally) == data
    assert tally.left == {"BROKEN_SERIALIZED": 1, "BARE_HOST": 1}


@given(
    st.lists(st.sampled_from([b"\n", b"s:9:", b'"', b'";', SOURCE.encode(), b'C:1:"a":3:{', b"\r\n", b"s:99999:", b"x"])),
    st.integers(1, 9),
)
def test_any_text_passes_in_pieces_of_any_size(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    assert streamed(data, size) == streamed(data)


def test_a_stream_of_many_parts_is_read_as_it_is_written() -> None:
    """No more than a few parts are held: what was read ahead of what was written stays small."""
    ahead = read = written = 0

    def rows() -> Iterator[bytes]:
        nonlocal read, ahead
        for number in range(400):
            piece = b"%d https://example.com " % number + b"x" * 65_000 + b"\n"
            read += len(piece)
            ahead = max(ahead, read - written)
            yield piece

    for piece in rewrite_stream(rows(), MAPPING):
        written += len(piece)
    assert ahead < 1 << 20


def test_lines_and_values_agree() -> None:
    rewriter = Rewriter(MAPPING)
    assert streamed(lines(SOURCE)).split(b"\n")[0] == rewriter.value(lines(SOURCE).split(b"\n")[0]).value
