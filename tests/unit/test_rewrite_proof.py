"""A changed value is read again before it is taken: what a program could read before, it can read after."""

import pytest

from wpclone.wordpress.rewrite import Format, Mapping, Reason, Rewriter, rewriter
from wpclone.wordpress.rewrite.edits import Edit
from wpclone.wordpress.rewrite.formats import MOST_JSON, format_of, proved
from wpclone.wordpress.rewrite.report import Left
from wpclone.wordpress.rewrite.text import Finder

SOURCE = "https://example.com"
REWRITER = Rewriter(Mapping.of([SOURCE], "https://clone.test"))


@pytest.mark.parametrize(("value", "kind"), [
    (b'a:1:{i:0;s:1:"x";}', Format.SERIALIZED),
    (b' s:1:"x";\n', Format.SERIALIZED),
    (b's:1:"x"; and more', Format.TEXT),
    (b's:2:"x";', Format.TEXT),
    (b'{"a": [1, null]}', Format.JSON),
    (b' ["\xc3\xa9"] ', Format.JSON),
    (b'{"a": 1', Format.TEXT),
    (b'["\xff"]', Format.TEXT),
    (b"[gallery]", Format.TEXT),
    (b"1", Format.TEXT),
    (b"[" * 100_000, Format.TEXT),
    (b"", Format.TEXT),
])  # fmt: skip
def test_a_value_is_what_reads_all_of_it(value: bytes, kind: Format) -> None:
    assert format_of(value) is kind


@pytest.mark.parametrize(("old", "new", "kind"), [
    (b'{"a": 1}', b'{"a": 2}', Format.JSON),
    (b'{"a": 1}', b'{"a": ', None),
    (b'a:1:{i:0;s:1:"x";}', b'a:1:{i:0;s:1:"yy";}', None),
    (b"text", b'{"a": ', Format.TEXT),
    (b'["' + b"x" * (MOST_JSON - 4) + b'"]', b'["' + b"x" * MOST_JSON + b'"]', Format.TEXT),
], ids=["JSON", "broken JSON", "broken lengths", "text", "too large to read"])  # fmt: skip
def test_what_could_be_read_and_cannot_any_more_is_not_proved(old: bytes, new: bytes, kind: Format | None) -> None:
    assert proved(old, new) is kind


def test_a_changed_value_says_what_it_was_proved_to_be() -> None:
    url = SOURCE.encode()
    assert REWRITER.value(b'["%s"]' % url).format is Format.JSON
    assert REWRITER.value(b's:%d:"%s";' % (len(url), url)).format is Format.SERIALIZED
    assert REWRITER.value(url).format is Format.TEXT


def test_a_value_that_a_change_would_break_is_left_whole_and_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_finder: Finder, raw: bytes) -> tuple[list[Edit], list[Left]]:
        return [Edit(2, len(raw) - 2, b'"', 1)], []

    monkeypatch.setattr(rewriter, "edits_of", broken)
    raw = b'["https://example.com"]'
    result = REWRITER.value(raw)
    assert result.value is raw
    assert (result.rewritten, [left.reason for left in result.left]) == (0, [Reason.UNPROVED])
    assert REWRITER.changes(raw)[0] == []
