"""Bringing files where the file system shares blocks, where it does not, and where the kernel cannot copy between two of them."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from wpclone.standalone import file_sharing
from wpclone.standalone.child import Account
from wpclone.standalone.file_sharing import bring_files
from wpclone.standalone.site_files import Owners, SiteDirectories

INTO = ".wpclone-incoming-3/near"
CONTENT = os.urandom(3_000_000)


@pytest.fixture
def sites(tmp_path: Path) -> tuple[SiteDirectories, SiteDirectories]:
    there, here = SiteDirectories(tmp_path / "there"), SiteDirectories(tmp_path / "here")
    (there.docroot / "a").mkdir(parents=True)
    (there.docroot / "a" / "photo.jpg").write_bytes(CONTENT)
    (there.docroot / "empty").touch()
    (here.staging / INTO).mkdir(parents=True)
    return there, here


def _brought(sites: tuple[SiteDirectories, SiteDirectories]) -> list[bytes]:
    there, here = sites
    only = Account(os.getuid(), os.getgid())
    owners = Owners(only, only, change=False)
    states = bring_files(there, owners, here, owners, INTO, [b"a/photo.jpg", b"empty"])
    time = int((there.docroot / "a" / "photo.jpg").stat().st_mtime)
    assert states[0] == ("ok", len(CONTENT), time)
    return [(here.staging / INTO / str(number)).read_bytes() for number in range(2)]


def test_a_file_system_that_shares_blocks_is_asked_to(
    sites: tuple[SiteDirectories, SiteDirectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def clone(made: int, request: int, source: int) -> int:
        asked.append(request)
        return os.write(made, os.pread(source, len(CONTENT), 0))

    monkeypatch.setattr(fcntl, "ioctl", clone)
    monkeypatch.setattr(os, "copy_file_range", None)
    assert _brought(sites) == [CONTENT, b""]
    assert asked == [0x40049409] * 2


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
def test_where_it_cannot_the_bytes_are_copied(
    sites: tuple[SiteDirectories, SiteDirectories], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", _failing(number))
    assert _brought(sites) == [CONTENT, b""]


def test_what_the_kernel_began_and_cannot_go_on_with_is_copied_from_the_start(
    sites: tuple[SiteDirectories, SiteDirectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, real = list[int](), os.copy_file_range

    def once(source: int, made: int, size: int) -> int:
        if copied:
            raise OSError(errno.EXDEV, "between two file systems")
        copied.append(real(source, made, min(size, 1000)))
        return copied[0]

    monkeypatch.setattr(fcntl, "ioctl", _failing(errno.EXDEV))
    monkeypatch.setattr(os, "copy_file_range", once)
    assert _brought(sites) == [CONTENT, b""]
    assert copied == [1000]


def test_a_full_disk_is_told(sites: tuple[SiteDirectories, SiteDirectories], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", _failing(errno.ENOSPC))
    with pytest.raises(OSError, match="told so") as full:
        _brought(sites)
    assert full.value.errno == errno.ENOSPC


def test_a_file_that_changes_while_it_is_copied_is_not_taken_for_whole(
    sites: tuple[SiteDirectories, SiteDirectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, real = sites[0].docroot / "a" / "photo.jpg", file_sharing._shared

    def shared(source: int, made: int) -> bool:
        photo.write_bytes(CONTENT + b"more")
        return real(source, made)

    monkeypatch.setattr(file_sharing, "_shared", shared)
    only = Account(os.getuid(), os.getgid())
    owners = Owners(only, only, change=False)
    ((state, _, _),) = bring_files(sites[0], owners, sites[1], owners, INTO, [b"a/photo.jpg"])
    assert state == "changed"


def _failing(number: int) -> object:
    def fail(*_: object) -> int:
        raise OSError(number, "told so")

    return fail
