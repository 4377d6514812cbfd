"""The laws of the house that a linter can't state."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ["wpclone", "server", "workers"]
SOURCES = sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py") if "versions" not in path.parts)
PACKAGES = sorted(path.parent for path in SOURCES if path.name == "__init__.py")


def test_imports_obey_the_layer_law() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_package_opens_with_its_law(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert docstring is not None
    assert len(docstring) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_named_for_the_noun_it_owns(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "manager", "common", "misc", "data"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_idea_of_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_environment_is_read_in_composition_roots_only(path: Path) -> None:
    text = path.read_text()
    if "os.environ" in text:
        assert path.stem in {"__main__", "bootstrap", "app", "admin"} or "cli" in path.parts or "standalone" in path.parts


def test_a_step_waits_for_its_threads() -> None:
    """`asyncio.to_thread` leaves a thread behind when its caller is cut; `wpclone.wordpress.blocking` does not."""
    under_a_claim = [path for path in SOURCES if path.is_relative_to(ROOT / "workers") or "wordpress" in path.parts]
    offenders = [str(path.relative_to(ROOT)) for path in under_a_claim if "to_thread(" in path.read_text()]
    assert sorted(offenders) == ["workers/worker.py", "wpclone/wordpress/blocking.py"]


def test_nothing_imports_upward_behind_type_checking() -> None:
    offenders = [path for path in SOURCES if "if TYPE_CHECKING" in path.read_text()]
    assert offenders == []
