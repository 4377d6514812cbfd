"""What the rewriter promises for any bytes at all: no crash, no byte changed outside a match, time linear in the size."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.php_random import TRAPS
from wpclone.wordpress.rewrite import Mapping, Reason, Rewriter
from wpclone.wordpress.rewrite.engine import edits_of
from wpclone.wordpress.rewrite.formats import format_of
from wpclone.wordpress.rewrite.text import Finder

URL = b"https://example.com"
MAPPING = Mapping.of([URL.decode()], "https://clone-1a2b3c.clones.test", [("/home/u/site", "/srv/x")])
REWRITER, FINDER = Rewriter(MAPPING), Finder(MAPPING)

PIECES = [
    *(trap.encode() for trap in TRAPS),
    *(URL, b"//www.example.com", b"http:\\/\\/example.com", b"/home/u/site", b"example.com", b"%2F%2Fexample.com"),
    *(b's:19:"', b'";', b"a:1:{", b"}", b'O:1:"a":1:{', b'C:1:"a":19:{', b'S:21:"', b"i:0;", b"\\2f", b"ZXhhbXBsZS5jb2"),
]
hostile_text = st.lists(
    st.sampled_from(
        ["http://", "https://", "//", "example.com", "/a", "clone-1a2b3c.clones.test", "x", '"', "\\", "é", 's:3:"', "😀"]
    ),
    max_size=5,
).map("".join)
hostile = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=24).map(b"".join)


@given(hostile | st.binary(max_size=200))
def test_any_bytes_are_rewritten_without_a_crash_and_only_inside_matches(raw: bytes) -> None:
    result = REWRITER.value(raw)
    edits, _ = edits_of(FINDER, raw)
    at = 0
    for edit in edits:
        assert at <= edit.start < edit.end <= len(raw)
        region = raw[edit.start : edit.end].lower()
        assert (b"example.com" in region or b"site" in region) if edit.counts else (region.isdigit() and edit.new.isdigit())
        at = edit.end
    assert (result.value is raw) == (not edits)
    assert result.rewritten == sum(edit.counts for edit in edits)
    assert all(0 <= left.excerpt_offset < len(raw) for left in result.left)


@given(hostile)
def test_the_filter_never_hides_a_change_or_a_remark(raw: bytes) -> None:
    result = REWRITER.value(raw)
    assert REWRITER.could_match(raw) or (result.value is raw and not result.left)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_text, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_json_is_json_afterwards_with_all_its_elements(value: object, is_ascii: bool) -> None:
    raw = json.dumps(value, ensure_ascii=is_ascii).encode()
    result = REWRITER.value(raw)
    assert count(json.loads(result.value)) == count(value)
    assert Reason.UNPROVED not in {left.reason for left in result.left}


def count(value: object) -> int:
    """Elements of a value, keys included."""
    if isinstance(value, dict):
        return sum(1 + count(item) for item in value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(hostile)
def test_what_could_be_read_can_be_read_afterwards(raw: bytes) -> None:
    assert format_of(REWRITER.value(raw).value) is format_of(raw)


@given(st.binary(max_size=400))
def test_bytes_without_a_match_come_back_as_the_same_object(raw: bytes) -> None:
    if not REWRITER.could_match(raw):
        assert REWRITER.value(raw).value is raw


def serialized_in(wrap: Callable[[bytes], bytes], size: int) -> bytes:
    value = URL
    while len(value) < size:
        value = wrap(value)
    return value


def text(value: bytes) -> bytes:
    return b's:%d:"%s";' % (len(value), value)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "strings in strings": lambda n: serialized_in(text, n),
    "strings in texts in strings": lambda n: serialized_in(lambda v: b"x " + text(v), n),
    "arrays in strings in arrays": lambda n: serialized_in(lambda v: b"a:1:{i:0;" + text(v) + b"}", n),
    "JSON in JSON": lambda n: serialized_in(lambda v: json.dumps([v.decode()]).encode(), n),
    "serialized in JSON in serialized": lambda n: serialized_in(lambda v: json.dumps(text(v).decode()).encode(), n),
    "custom payloads in each other": lambda n: serialized_in(lambda v: b'C:1:"a":%d:{%s}' % (len(v), v), n),
    "arrays never closed": lambda n: b"a:1:{i:0;" * (n // 9) + text(URL),
    "arrays in arrays": lambda n: b"a:1:{i:0;" * (n // 10) + text(URL) + b"}" * (n // 10),
    "a count beyond all bounds": lambda n: b"a:999999999999999999:{" + b"i:0;" * (n // 4) + URL,
    "headers of strings too long": lambda n: URL + b's:9999999:"' * (n // 10) + URL,
    "headers of escaped strings": lambda n: URL + b' S:9999999:"' * (n // 10) + URL,
    "escaped headers": lambda n: URL + b's:3:\\"' * (n // 6) + URL,
    "escaped headers in quotes": lambda n: (b'"s:3:\\"a\\";' + URL + b'"') * (n // 30),
    "headers in HTML": lambda n: URL + b"s:3:&quot;" * (n // 10) + URL,
    "headers in URLs": lambda n: URL + b"s%3A3%3A%22 " * (n // 12) + URL,
    "headers in URLs, slashed": lambda n: URL + b"s%3A3%3A%22 \\n" * (n // 12) + URL,
    "headers of all kinds": lambda n: (URL + b' s:3:\\"s:3:&quot;s%3A3%3A%22s:3:" ') * (n // 60),
    "an entity of an entity of…": lambda n: URL + b"s:3:&" + b"amp;" * (n // 8) + b"quot;" + b" " * (n // 2) + URL,
    "backslashes": lambda n: URL + b"\\" * n + URL,
    "percent signs": lambda n: URL + b"s%" + b"25" * (n // 2) + b"3A" + URL,
    "hosts": lambda n: b"example.com" * (n // 11),
    "user names": lambda n: (b"a" * 120 + b"@example.com") * (n // 132),
    "full stops": lambda n: URL + b"." * n,
    "keys": lambda n: b"a:%d:{" % (n // 30) + b"".join(b's:27:"%s/%07d";N;' % (URL, i) for i in range(n // 30)) + b"}",
    "directories": lambda n: (b"/home" + b"\\" * 50) * (n // 55) + b"/home/u/site",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_take_no_more_than_linear_time_and_no_recursion(name: str) -> None:
    """Four times the size may take ten times as long (linear is four, quadratic sixteen), measured when it takes long at all."""
    small, large = HOSTILE[name](100_000), HOSTILE[name](400_000)
    REWRITER.value(small)
    took = []
    for value in (small, large):
        started = time.process_time()
        REWRITER.value(value)
        took.append(time.process_time() - started)
    assert took[1] < 1 or took[1] < 10 * took[0]


def test_nesting_beyond_all_reason_is_left_and_remarked() -> None:
    raw = serialized_in(text, 2000)
    result = REWRITER.value(raw)
    assert result.value is raw
    assert [left.reason for left in result.left] == [Reason.TOO_DEEP]
