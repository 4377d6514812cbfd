from datetime import UTC, datetime, timedelta

import pytest

from wpclone.cli.table import amount, clean, columns, duration, moment, pairs


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns(("A", "LONG"), [("xyz", "1"), ("", "22")]) == "A    LONG\nxyz  1\n     22"


def test_pairs_without_a_value_are_left_out() -> None:
    assert pairs([("url", "u"), ("password", ""), ("a", "b")]) == "url  u\na    b"
    assert pairs([]) == ""


def test_text_from_a_site_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[2Jb\nc\u202e") == "a [2Jb c "


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (60_000_000, "60.0 MB"), (10**15, "1000.0 TB")]
)
def test_amounts(size: int, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(8.24, "8.2 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (-1, "0.0 s")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text


def test_a_moment_is_utc_to_the_second() -> None:
    assert moment(datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2030-01-02T03:04:05Z"
    assert moment(None) == ""
