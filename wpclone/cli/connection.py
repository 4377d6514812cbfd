"""Where the service is and who we are: options, then the environment, then the file `wpclone up` wrote.

The file is `<state>/client.json`, 0600: `{"server": "127.0.0.1:50051", "token": "…"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit
from wpclone.standalone.state import state_directory

DEFAULT_SERVER = "127.0.0.1:50051"


@dataclass(frozen=True)
class Connection:
    """A server's address (`host:port`, or `https://host` for TLS) and the token to show it."""

    server: str
    token: str = field(repr=False)


def find_connection(server: str | None, token: str | None, environ: Mapping[str, str], *, uid: int) -> Connection:
    """The connection to use. Raises Trouble when the file is damaged.

    A token from the state file goes to that file's own server only: `--server elsewhere` must bring its own.
    """
    server = server or environ.get("WPCLONE_SERVER") or None
    # A variable filled from a file often ends with the file's newline.
    token = (token or environ.get("WPCLONE_TOKEN", "")).strip()
    if server is not None and token:
        return Connection(server, token)
    kept = _kept(state_directory(environ, uid=uid) / "client.json")
    if server is None:
        server = kept.server if kept is not None else DEFAULT_SERVER
    if not token and kept is not None and kept.server == server:
        token = kept.token
    return Connection(server, token)


def _kept(path: Path) -> Connection | None:
    """What the file says, or None when there is none (or it is another user's)."""
    try:
        kept = json.loads(path.read_text())
        return Connection(str(kept["server"]), str(kept["token"]))
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        text = f"{path} is damaged; run `wpclone up` again, or give --server and WPCLONE_TOKEN"
        raise Trouble(Exit.NOT_HERE, text) from error
