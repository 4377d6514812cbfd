"""`python -m server`: reads the settings, serves until SIGTERM or SIGINT, drains. Exit codes: 0 drained, 1 could not go on."""

from __future__ import annotations

import sys

import uvloop

from server.bootstrap import run
from wpclone.core import logs
from wpclone.core.jobs.errors import WpcloneError
from wpclone.core.settings import ServerSettings, read


def main() -> int:
    """Serve; returns the exit code. One line on stderr says why it could not."""
    logs.configure("server")
    try:
        return uvloop.run(run(read(ServerSettings)))
    except WpcloneError as error:
        sys.stderr.write(f"server: {error.message}\n")
    except (OSError, RuntimeError) as error:  # a port that is taken
        sys.stderr.write(f"server: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
