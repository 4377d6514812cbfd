"""The rewriter against PHP itself: what PHP writes for the source, rewritten, is what PHP writes for the target."""

import random
from collections.abc import Iterator

import pytest

from tests.support.php_oracle import Oracle, php_oracle
from tests.support.php_random import PAIRS, Maker, damaged
from wpclone.wordpress.rewrite import Mapping, Reason, Rewriter

BATCHES, BATCH = 36, 250
REWRITER = Rewriter(Mapping.of([PAIRS["{U}"][0]], PAIRS["{U}"][1], [PAIRS["{D}"]]))


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with php_oracle(PAIRS) as running:
        yield running


@pytest.mark.parametrize("depth", [2, 5, 8])
@pytest.mark.parametrize("ghosts", [False, True], ids=["known classes", "unknown classes"])
def test_thousands_of_random_values_become_what_php_would_have_written(oracle: Oracle, ghosts: bool, depth: int) -> None:
    maker = Maker(seed=20240229 + ghosts, depth=depth)
    for _ in range(BATCHES // 2 if depth < 8 else BATCHES // 6):
        pairs = oracle.built([maker.value() for _ in range(BATCH)], ghosts=ghosts)
        for source, target in pairs:
            result = REWRITER.value(source)
            assert result.value == target, difference(source, result.value, target)
            assert (result.value is source) == (source == target)
            assert {left.reason for left in result.left} <= {Reason.CUSTOM_SERIALIZED}
        if not ghosts:
            assert all(oracle.stable([REWRITER.value(source).value for source, _ in pairs]))


def test_what_php_could_read_it_can_still_read_however_damaged_the_values_beside_it(oracle: Oracle) -> None:
    maker, generator = Maker(seed=4), random.Random(4)
    readable_before = 0
    for _ in range(BATCHES // 3):
        built = oracle.built([maker.value() for _ in range(BATCH)], ghosts=False)
        before = [damaged(source, generator) for source, _ in built]
        after = [REWRITER.value(value).value for value in before]
        for value, rewritten, was, still in zip(before, after, oracle.readable(before), oracle.readable(after), strict=True):
            readable_before += was
            assert still or not was, f"{value!r}\n-> {rewritten!r}"
    assert readable_before > 500


def difference(source: bytes, ours: bytes, wanted: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, wanted, strict=False)) if a != b), min(len(ours), len(wanted)))
    around = slice(max(0, at - 200), at + 200)
    return f"at {at}\nours:   {ours[around]!r}\nPHP's:  {wanted[around]!r}\nsource: {source!r}"
