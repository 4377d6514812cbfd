"""The servers that come as Python packages: beside the interpreter of a virtual environment, which need not be on PATH."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def installed_program(name: str) -> str:
    """The program of this name beside this interpreter, else the one on PATH. Raises FileNotFoundError."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither beside the Python interpreter nor on PATH: run `make setup`")
    return found
