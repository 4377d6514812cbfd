"""Which files of a database's directory are copied, and what is never followed."""

import os
from pathlib import Path

import pytest

from wpclone.standalone.child import Account
from wpclone.standalone.table_spaces import TableSpaces, _opened, _Refused


@pytest.fixture
def spaces(tmp_path: Path) -> TableSpaces:
    for name in ("wpc_there", "wpc_here"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data" / "wpc_there" / "posts.ibd").write_bytes(b"pages")
    (tmp_path / "secret").write_bytes(b"secret")
    return TableSpaces(tmp_path / "socket", tmp_path / "data", Account(os.getuid(), os.getgid()), "password")


def _copied(spaces: TableSpaces, name: str, most: int = 100) -> bytes:
    with _opened(spaces.data, "wpc_there") as there, _opened(spaces.data, "wpc_here") as here:
        spaces._copy(name, there, here, most)
    return (spaces.data / "wpc_here" / name).read_bytes()


def test_a_plain_file_of_the_servers_own_is_copied_once(spaces: TableSpaces) -> None:
    assert _copied(spaces, "posts.ibd") == b"pages"
    made = (spaces.data / "wpc_here" / "posts.ibd").stat()
    assert (made.st_mode & 0o777 & ~0o660, made.st_nlink, made.st_uid) == (0, 1, os.getuid())
    with pytest.raises(FileExistsError):  # never over a file that is there
        _copied(spaces, "posts.ibd")


def test_neither_a_link_nor_a_large_nor_a_missing_file_nor_anything_else_is(spaces: TableSpaces, tmp_path: Path) -> None:
    there = spaces.data / "wpc_there"
    (there / "link.ibd").symlink_to(tmp_path / "secret")
    os.link(tmp_path / "secret", there / "hard.ibd")
    os.mkfifo(there / "pipe.ibd")
    (there / "directory.ibd").mkdir()
    for name, raised in (("link.ibd", OSError), ("hard.ibd", _Refused), ("pipe.ibd", _Refused), ("directory.ibd", _Refused)):
        with pytest.raises(raised):
            _copied(spaces, name)
    with pytest.raises(_Refused, match="5 bytes"):
        _copied(spaces, "posts.ibd", most=4)
    with pytest.raises(_Refused, match="no file of its own"):
        _copied(spaces, "none.ibd")
    assert os.listdir(spaces.data / "wpc_here") == []


def test_a_file_of_another_account_is_not_copied(spaces: TableSpaces) -> None:
    other = TableSpaces(spaces.socket, spaces.data, Account(os.getuid() + 1, os.getgid()), "password")
    with pytest.raises(_Refused, match="not the server's own"):
        _copied(other, "posts.ibd")


def test_a_directory_that_is_a_link_is_not_opened(spaces: TableSpaces, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (spaces.data / "wpc_link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"), _opened(spaces.data, "wpc_link"):
        pass
