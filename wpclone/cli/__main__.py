"""The entry point of the `wpclone` command."""

from __future__ import annotations

import sys
import traceback

from wpclone.cli.app import app
from wpclone.cli.exits import Exit


def main() -> None:
    """Run the command. A fault of ours shows its traceback (no values) and has its own exit code, not a failed job's."""
    try:
        app(prog_name="wpclone")
    except Exception:
        traceback.print_exc()
        sys.exit(int(Exit.INTERNAL))


if __name__ == "__main__":
    main()
