"""A server's answer taken apart wherever it is cut."""

import pytest

from wpclone.wordpress.near_tables import Unfit
from wpclone.wordpress.table_reader import taken_apart

END = b"\xfe\0\0\x22\0"
ROWS: list[list[bytes | None]] = [[b"1", None, b""], [b"22", b"x" * 250, b"y" * 251], [b"3", b"z" * 70_000, b"\xfe" * 9]]


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    size = len(value)
    if size < 251:
        return bytes([size]) + value
    return (b"\xfc" + size.to_bytes(2, "little") if size < 1 << 16 else b"\xfd" + size.to_bytes(3, "little")) + value


def _packet(payload: bytes, number: int) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number & 255]) + payload


def _answer() -> bytes:
    packets = [b"".join(map(_value, row)) for row in ROWS]
    return b"".join(_packet(payload, number) for number, payload in enumerate([*packets, END]))


@pytest.mark.parametrize("piece", [1, 3, 9, 255, 4096, 1 << 20])
def test_rows_come_out_as_they_went_in(piece: int) -> None:
    answer, held, found, is_last = _answer(), b"", list[bytes | None](), False
    for start in range(0, len(answer), piece):
        held += answer[start : start + piece]
        if piece < 9 and len(held) < 60_000 and start + piece < len(answer):
            continue
        values, used, is_last = taken_apart(held, b"t")
        found += values
        held = held[used:]
    assert (found, held, is_last) == ([value for row in ROWS for value in row], b"", True)


def test_an_error_among_the_rows_and_a_row_of_16_mb_make_the_table_unfit() -> None:
    first = _packet(b"".join(map(_value, ROWS[0])), 0)
    with pytest.raises(Unfit, match="error 1317") as unfit:
        taken_apart(first + _packet(b"\xff\x25\x05#70100interrupted", 1), b"t")
    assert unfit.value.name == b"t"
    with pytest.raises(Unfit, match="16 MB"):
        taken_apart(first + b"\xff\xff\xff\1", b"t")
