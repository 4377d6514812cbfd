from datetime import timedelta

import pytest
import typer

from wpclone.cli.options import span


@pytest.mark.parametrize(("text", "minutes"), [("90", 90), ("90m", 90), ("2h", 120), ("1h30m", 90), ("1d", 1440), ("30s", 0.5)])
def test_a_span_is_minutes_or_has_units(text: str, minutes: float) -> None:
    assert span(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "h", "1x", "m5", "-5", "1.5h", "3651d", "99999999999d", "9" * 5000])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        span(text)
