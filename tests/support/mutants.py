"""Faults put into a copy of the source, one at a time, to see whether the tests notice: a test of the tests.

with copied_source() as copy:
    assert is_green(copy, suite)
    with mutated(copy, mutant):
        assert not is_green(copy, suite)
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import open_directory

ROOT = Path(__file__).parents[2]
_PARTS = ("wpclone", "server", "workers", "tests", "gen", "deploy", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """What is taken away: in `file`, what `old` matches becomes `new` (see re.sub); the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    suite: tuple[str, ...]


@contextmanager
def copied_source() -> Iterator[Path]:
    """A copy of what the tests need, gone afterwards."""
    with open_directory("mutants") as directory:
        for part in _PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, directory / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, directory / part)
        yield directory


@contextmanager
def mutated(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The copy with this fault; AssertionError when the place is no longer there exactly once."""
    file = copy / mutant.file
    text = file.read_text()
    changed, places = re.subn(mutant.old, mutant.new, text)
    assert places == 1, f"{mutant.name}: {places} places in {mutant.file} match {mutant.old!r}"
    file.write_text(changed)
    try:
        yield
    finally:
        file.write_text(text)


def is_green(copy: Path, suite: Sequence[str]) -> bool:
    """Whether these tests pass there. AssertionError unless they ran, and passed or failed: a broken copy proves nothing."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-m", "", *suite]
    done = subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, timeout=600, check=False)
    summary = done.stdout.strip().rpartition("\n")[2]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|errors)\b", summary)}
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert not counts.keys() - {"passed", "failed"}, done.stdout + done.stderr
    assert sum(counts.values()) >= len(suite), done.stdout + done.stderr
    return "failed" not in counts
