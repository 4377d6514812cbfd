import signal
import subprocess
import sys
from pathlib import Path

from tests.support.places import open_directory, remove_abandoned

ROOT = Path(__file__).parents[2]
HOLD = """
from tests.support.places import open_directory
with open_directory("killed") as path:
    (path / "file").write_text("left")
    print(path, flush=True)
    input()
"""


def test_what_a_killed_run_left_is_removed_and_nothing_else() -> None:
    with (
        open_directory("kept") as kept,
        subprocess.Popen(
            [sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"},
        ) as run,
    ):  # fmt: skip
        assert run.stdout is not None
        left = Path(run.stdout.readline().strip())
        remove_abandoned()
        assert (left / "file").exists()
        run.send_signal(signal.SIGKILL)
        run.wait(30)
        remove_abandoned()
        assert not left.exists()
        assert kept.is_dir()
    assert not kept.exists()
