"""A password or key: where it comes from, and what is said when there is none."""

import getpass
import sys

import pytest

from wpclone.cli.complaint import Trouble
from wpclone.cli.exits import Exit
from wpclone.cli.secret import PASSWORD_VARIABLE, secret_of_source


class Terminal:
    """A stdin that is one."""

    def isatty(self) -> bool:
        return True


def test_ctrl_d_at_the_prompt_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(prompt: str, stream: object) -> str:
        raise EOFError

    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", ends)
    with pytest.raises(Trouble, match="no password given") as raised:
        secret_of_source("admin", password_stdin=False, agent_key=None)
    assert raised.value.exit is Exit.USAGE


def test_a_password_of_another_encoding_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, b"secr\xe9t".decode(errors="surrogateescape"))
    with pytest.raises(Trouble, match="not UTF-8 text") as raised:
        secret_of_source("admin", password_stdin=False, agent_key=None)
    assert raised.value.exit is Exit.USAGE
