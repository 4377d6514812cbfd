"""Room at a restore's target is counted by file systems: what is written there, and a spare."""

from dataclasses import replace

import pytest

from wpclone.wordpress.errors import Reason, SiteError
from wpclone.wordpress.restore.file_plan import FileChoice, Found, make_plan
from wpclone.wordpress.restore.report import TargetReport, refuse_too_little_space

SPARE = 32 << 20
MB = 1 << 20


def target(*volumes: tuple[str, int, int]) -> TargetReport:
    """A target with these volumes: root, device, bytes free."""
    nothing = dict.fromkeys(("roots", "not_writable", "missing_functions", "collations", "charsets", "triggers"), ())
    more = dict.fromkeys(("references", "plugins", "themes", "restores"), ())
    sizes = dict.fromkeys(("free_bytes", "post_bytes", "memory_bytes", "packet_bytes"), 0)
    return TargetReport(**nothing, **more, **sizes, db_version="", refused_by_database="", volumes=volumes)  # type: ignore[arg-type]


def refused(report: TargetReport, **needed: int) -> tuple[int, int] | None:
    """What was needed and what was free, by the refusal; None for no refusal."""
    try:
        refuse_too_little_space(report, needed)
    except SiteError as error:
        if error.reason is not Reason.TARGET_TOO_SMALL:
            raise
        return int(error.metadata["needed_bytes"]), int(error.metadata["free_bytes"])
    return None


def test_what_roots_of_one_file_system_need_is_added_up() -> None:
    one = target(("content", 1, SPARE + 5 * MB), ("uploads", 1, SPARE + 5 * MB))
    assert refused(one, content=2 * MB, uploads=3 * MB) is None
    assert refused(one, content=3 * MB, uploads=3 * MB) == (SPARE + 6 * MB, SPARE + 5 * MB)


def test_each_file_system_has_to_have_its_own_part_only() -> None:
    two = target(("content", 1, SPARE + MB), ("uploads", 2, SPARE + 9 * MB))
    assert refused(two, content=MB, uploads=9 * MB) is None
    assert refused(two, content=2 * MB) == (SPARE + 2 * MB, SPARE + MB)
    assert refused(two, uploads=10 * MB) == (SPARE + 10 * MB, SPARE + 9 * MB)


def test_a_file_system_that_nothing_is_written_to_may_be_full() -> None:
    assert refused(target(("content", 1, SPARE), ("uploads", 2, 0))) is None
    assert refused(target(("content", 1, SPARE - 1), ("uploads", 2, 0))) == (SPARE, SPARE - 1)


@pytest.mark.parametrize("volumes", [(("content", 1, -1),), ()])
def test_what_php_will_not_say_stands_in_nobodys_way(volumes: tuple[tuple[str, int, int], ...]) -> None:
    assert refused(target(*volumes), content=1 << 50) is None


def test_the_report_of_a_worker_that_knew_no_volumes_is_read() -> None:
    report = target(("content", 1, 7))
    said = report.to_json()
    assert TargetReport.from_json(said) == report
    del said["volumes"]
    assert TargetReport.from_json(said) == replace(report, volumes=())


def test_a_plan_takes_whole_blocks_and_nothing_for_files_that_are_equal() -> None:
    def file(name: str, size: int) -> Found:
        path = f"wp-content/{name}".encode()
        return Found("f", path, size, 1, 0o644, b"", "core", path)

    source = [file("a.txt", 1), file("uploads/b.txt", 4096), file("uploads/c.txt", 4097), file("same.txt", 1 << 40)]
    there = {found.path: found for found in source}
    plan = make_plan(source, there, FileChoice(), same={b"wp-content/same.txt"}, roots=("content", "uploads"))
    assert plan.room() == {"content": 2 * 4096, "uploads": 2 * 4096 + 3 * 4096}
