"""Values in SQL text."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.servers import Mariadb
from wpclone.core.store.mysql.sql import literal, render


def test_each_type_is_written_as_sql() -> None:
    values = [
        None,
        True,
        7,
        1.5,
        Decimal("2.50"),
        "it's",
        b"\x00'",
        datetime.fromisoformat("2030-01-01T02:03:04.000005"),
        [("a", 1), ("b", 2)],
    ]
    assert [literal(v) for v in values] == [
        "NULL", "1", "7", "1.5", "2.50", "'it\\'s'", "_binary X'0027'", "'2030-01-01 02:03:04.000005'", "(('a', 1), ('b', 2))",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [[], float("nan"), float("inf"), datetime(2030, 1, 1, tzinfo=UTC), {"a": 1}, object()])
def test_what_has_no_literal_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        literal(value)


def test_only_named_values_are_written_and_a_missing_one_is_an_error() -> None:
    assert render("SELECT %(a)s, '100%%'", {"a": "x", "unused": object()}) == "SELECT 'x', '100%'"
    with pytest.raises(KeyError):
        render("SELECT %(b)s", {"a": 1})


@settings(deadline=None)
@given(st.lists(st.text() | st.binary(), min_size=1, max_size=8))
def test_any_text_and_any_bytes_come_back_from_the_server(mariadb_server: Mariadb, values: list[str | bytes]) -> None:
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(literal(value) for value in values))
        assert list(cursor.fetchone() or ()) == values
