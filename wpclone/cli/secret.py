"""A site's password or an agent's key: from stdin, a file, the environment or a prompt, never from an argument.

Arguments are seen by every process on the machine and stay in shell histories.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit

PASSWORD_VARIABLE = "WPCLONE_SOURCE_PASSWORD"  # noqa: S105 -- a name
TARGET_PASSWORD_VARIABLE = "WPCLONE_TARGET_PASSWORD"  # noqa: S105 -- a name
NO_TEXT = "the password or key is not UTF-8 text"


def secret_of_source(
    username: str | None, *, password_stdin: bool, agent_key: Path | None, variable: str = PASSWORD_VARIABLE
) -> str:
    """The key in the file `agent_key`, else the password for `username`, which may be in the environment's `variable`.

    Raises Trouble when there is none.
    """
    if agent_key is not None:
        if username or password_stdin:
            raise Trouble(Exit.USAGE, "give either --agent-key or --username, not both")
        return _of_file(agent_key)
    if not username:
        raise Trouble(Exit.USAGE, "give --username (an administrator of the site), or --agent-key")
    if password_stdin:
        return _text(_of_stdin(), "stdin has no password")
    if password := os.environ.get(variable):
        return _text(password, f"{variable} is empty")
    if not sys.stdin.isatty():
        raise Trouble(Exit.USAGE, f"no password: use --password-stdin, {variable}, or a terminal")
    return _text(_of_prompt(username), "no password given")


def _of_stdin() -> str:
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Trouble(Exit.USAGE, NO_TEXT) from error


def _of_prompt(username: str) -> str:
    try:
        return getpass.getpass(f"Password of {username}: ", stream=sys.stderr)
    except EOFError:  # Ctrl-D
        return ""


def _of_file(path: Path) -> str:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(Exit.USAGE, f"{path} cannot be read: {error}") from error
    return _text(text.strip(), f"{path} is empty")


def _text(secret: str, complaint: str) -> str:
    """The secret; Trouble with `complaint` when there is none, and when it holds bytes of another encoding (as surrogates)."""
    if not secret:
        raise Trouble(Exit.USAGE, complaint)
    try:
        secret.encode()
    except UnicodeEncodeError as error:
        raise Trouble(Exit.USAGE, NO_TEXT) from error
    return secret
