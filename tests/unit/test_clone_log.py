"""A clone's log is cut to its last lines while others append to it."""

import os
from pathlib import Path

from wpclone.standalone.clone_log import trim


def test_a_long_log_is_cut_to_its_last_whole_lines_and_writers_go_on(tmp_path: Path) -> None:
    log = tmp_path / "apache.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(1000):
            writer.write(b"line %04d\n" % number)
        assert trim(log, most=9_999, keep=105)
        writer.write(b"and on\n")
    assert log.read_text().splitlines() == [f"line {number:04d}" for number in range(990, 1000)] + ["and on"]


def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "apache.log"
    assert not trim(log)
    log.write_bytes(b"x" * 1000)
    assert not trim(log, most=1000, keep=10)
    assert log.stat().st_size == 1000


def test_one_line_without_an_end_does_not_stay(tmp_path: Path) -> None:
    log = tmp_path / "apache.log"
    log.write_bytes(b"x" * 5000)
    assert trim(log, most=1000, keep=10)
    assert log.stat().st_size <= 10


def test_what_is_no_file_of_its_own_is_not_touched(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "apache.log"
    elsewhere.write_bytes(b"x" * 5000)
    link.symlink_to(elsewhere)
    try:
        cut = trim(link, most=1000, keep=10)
    except OSError:
        cut = False
    assert not cut
    assert elsewhere.stat().st_size == 5000
    link.unlink()
    os.mkfifo(link)
    assert not trim(link)
