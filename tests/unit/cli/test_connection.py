import json
from pathlib import Path

import pytest

from wpclone.cli.complaint import Trouble
from wpclone.cli.connection import DEFAULT_SERVER, Connection, find_connection


def kept(directory: Path, server: str = "127.0.0.1:7000", token: str = "kept-token") -> dict[str, str]:
    (directory / "client.json").write_text(json.dumps({"server": server, "token": token}))
    return {"WPCLONE_STATE_DIR": str(directory)}


def test_the_file_of_up_is_used_when_nothing_else_is_said(tmp_path: Path) -> None:
    assert find_connection(None, None, kept(tmp_path), uid=1000) == Connection("127.0.0.1:7000", "kept-token")


def test_the_environment_comes_before_the_file_and_options_before_both(tmp_path: Path) -> None:
    environ = {**kept(tmp_path), "WPCLONE_SERVER": "b:1", "WPCLONE_TOKEN": "from-environment"}
    assert find_connection(None, None, environ, uid=1000) == Connection("b:1", "from-environment")
    assert find_connection("c:1", "t", environ, uid=1000) == Connection("c:1", "t")


def test_the_kept_token_goes_to_its_own_server_only(tmp_path: Path) -> None:
    environ = kept(tmp_path)
    assert find_connection("elsewhere:1", None, environ, uid=1000).token == ""
    assert find_connection("127.0.0.1:7000", None, environ, uid=1000).token == "kept-token"


def test_without_anything_the_default_server_is_asked_without_a_token(tmp_path: Path) -> None:
    found = find_connection(None, None, {"XDG_STATE_HOME": str(tmp_path)}, uid=1000)
    assert found == Connection(DEFAULT_SERVER, "")


@pytest.mark.parametrize("text", ["{", "[]", '{"server": "x"}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "client.json").write_text(text)
    with pytest.raises(Trouble, match=r"client\.json is damaged"):
        find_connection(None, None, {"WPCLONE_STATE_DIR": str(tmp_path)}, uid=1000)


def test_the_newline_of_the_file_that_filled_the_variable_is_no_part_of_the_token(tmp_path: Path) -> None:
    environ = {"WPCLONE_STATE_DIR": str(tmp_path), "WPCLONE_SERVER": "b:1", "WPCLONE_TOKEN": "of-a-file\n"}
    assert find_connection(None, None, environ, uid=1000).token == "of-a-file"


def test_a_token_is_not_in_the_representation() -> None:
    assert "hidden" not in repr(Connection("s", "hidden"))
