"""Values that come in parts: what a source says of them is bounded and checked."""

import zlib

import pytest

from wpclone.wordpress.agent.asked import LargeValues
from wpclone.wordpress.agent.wire import Damaged, Piece
from wpclone.wordpress.errors import Reason, SiteError


def _piece(data: bytes, *, offset: int = 0, total: int = 6, code: int = zlib.crc32(b"abcdef")) -> Piece:
    return Piece(0, 1, total, code, offset, memoryview(data))


def test_parts_in_order_make_the_value() -> None:
    large = LargeValues()
    assert large.add(_piece(b"abc")) == (1, 3)
    assert large.add(_piece(b"def", offset=3)) == (1, 6)
    assert large.values == {1: b"abcdef"}


def test_parts_that_go_beyond_the_value_are_damage() -> None:
    large = LargeValues()
    large.add(_piece(b"abc"))
    with pytest.raises(Damaged):
        large.add(_piece(b"defg", offset=3))


def test_a_value_that_no_database_takes_is_refused_at_its_first_part() -> None:
    with pytest.raises(SiteError, match="more than any database takes") as refused:
        LargeValues().add(_piece(b"a", total=(1 << 30) + 1))
    assert (refused.value.reason, refused.value.transient) == (Reason.TARGET_DATABASE_REFUSED, False)
