import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import wpclone.core
from wpclone.cli.exits import EXITS, Exit, exit_of_job, exit_of_reason, exit_of_several
from wpclone.core.jobs.errors import WpcloneError
from wpclone.v2.error_reason_pb2 import ErrorReason

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
WORDS = sorted(name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number)


def errors_below(cls: type[WpcloneError]) -> set[type[WpcloneError]]:
    return {cls}.union(*(errors_below(sub) for sub in cls.__subclasses__()))


@pytest.mark.parametrize("reason", WORDS)
def test_each_reason_of_the_api_has_an_exit_code(reason: str) -> None:
    assert reason in EXITS


def test_each_error_of_the_service_has_an_exit_code() -> None:
    for module in pkgutil.walk_packages(wpclone.core.__path__, "wpclone.core."):
        if "migrations" not in module.name:
            importlib.import_module(module.name)
    assert {cls.reason for cls in errors_below(WpcloneError)} - set(EXITS) == set()


def test_an_unknown_reason_is_a_fault() -> None:
    assert exit_of_reason("FROM_THE_FUTURE") is Exit.INTERNAL


@pytest.mark.parametrize(
    ("status", "end"),
    [("completed", Exit.OK), ("failed", Exit.JOB_FAILED), ("cancelled", Exit.CANCELLED), ("running", Exit.STILL_RUNNING)],
)
def test_a_jobs_status_has_an_exit_code(status: str, end: Exit) -> None:
    assert exit_of_job(status) is end


@pytest.mark.parametrize(
    ("ends", "whole"),
    [
        ([Exit.OK, Exit.OK], Exit.OK),
        ([Exit.OK, Exit.JOB_FAILED], Exit.SOME_FAILED),
        ([Exit.LIMIT, Exit.LIMIT], Exit.LIMIT),
        ([Exit.LIMIT, Exit.CANCELLED], Exit.JOB_FAILED),
    ],
)
def test_several_ends_make_one(ends: list[Exit], whole: Exit) -> None:
    assert exit_of_several(ends) is whole


def test_the_page_shows_each_code_with_its_meaning_and_reasons() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|(.*)\|$", PAGE, re.M)
    shown = {int(code): (meaning, set(re.findall(r"`([A-Z_]+)`", reasons))) for code, meaning, reasons in rows}
    assert shown == {int(end): (end.meaning, {word for word, its_end in EXITS.items() if its_end is end}) for end in Exit}
