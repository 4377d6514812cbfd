"""Sums of directories: the same in any order, another for any change, and recomputed from a tree by its hashes alone."""

import hashlib
import random

from wpclone.wordpress.file_sums import MOST, OTHERS, DirectorySums, directory_of

FILES = [(b"wp-content/plugins/a/%d.php" % i, i, hashlib.sha256(b"%d" % i).hexdigest()) for i in range(50)]


def sums_of(files: list[tuple[bytes, int, str]]) -> DirectorySums:
    sums = DirectorySums()
    for file in files:
        sums.add(*file)
    return sums


def test_the_order_does_not_matter_and_any_change_does() -> None:
    shuffled = FILES[:]
    random.Random(1).shuffle(shuffled)
    whole = sums_of(FILES).sums()
    assert sums_of(shuffled).sums() == whole
    assert (whole[0].path, whole[0].files, whole[0].bytes) == ("wp-content/plugins/a", 50, sum(range(50)))
    path, size, sha256 = FILES[0]
    for other in ((path + b"x", size, sha256), (path, size, sha256[::-1])):
        assert sums_of([*FILES[1:], other]).sums()[0].digest != whole[0].digest
    swapped = [(FILES[0][0], 0, FILES[1][2]), (FILES[1][0], 1, FILES[0][2]), *FILES[2:]]
    assert sums_of(swapped).sums()[0].digest != whole[0].digest


def test_a_digest_is_what_its_page_says() -> None:
    path, size, sha256 = FILES[7]
    expected = hashlib.sha256(path + b"\0" + sha256.encode()).hexdigest()
    assert sums_of([(path, size, sha256)]).sums()[0].digest == expected


def test_directories_are_those_that_people_know() -> None:
    known = {
        b"index.php": b".", b"wp-admin/css/a.css": b"wp-admin", b"wp-content/index.php": b"wp-content",
        b"wp-content/themes/x/deep/a.php": b"wp-content/themes/x",
        b"wp-content/uploads/2024/02/a.png": b"wp-content/uploads/2024",
    }  # fmt: skip
    assert {path: directory_of(path) for path in known} == known


def test_of_very_many_the_largest_are_told_and_the_others_together() -> None:
    files = [(b"d%04d/a" % i, i, "00") for i in range(MOST + 30)]
    found = sums_of(files).sums()
    assert len(found) == MOST + 1
    assert (found[-1].path, found[-1].files, found[-1].bytes) == (OTHERS, 30, sum(range(30)))
    assert [one.path for one in found[:-1]] == sorted(one.path for one in found[:-1])
