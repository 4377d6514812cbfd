"""The rewriter against PHP itself: what PHP writes for the source, rewritten, is what PHP writes for the target."""

import random
from collections.abc import Iterator

import pytest

from tests.support.php_oracle import Oracle, php_oracle
from tests.support.php_random import PAIRS, Maker, damaged
from wpclone.wordpress.rewrite import Mapping, Reason, Rewriter

BATCH = 250
REWRITER = Rewriter(Mapping.of([PAIRS["{U}"][0]], PAIRS["{U}"][1], [PAIRS["{D}"]]))


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with php_oracle(PAIRS) as running:
        yield running


def compared(oracle: Oracle, maker: Maker, batches: int, *, ghosts: bool) -> None:
    """Each of so many batches: rewritten as PHP would have written it, and nothing left but what only its class can read."""
    for _ in range(batches):
        pairs = oracle.built([maker.value() for _ in range(BATCH)], ghosts=ghosts)
        for source, target in pairs:
            result = REWRITER.value(source)
            assert result.value == target, difference(source, result.value, target)
            assert (result.value is source) == (source == target)
            assert {left.reason for left in result.left} <= {Reason.CUSTOM_SERIALIZED}
        if not ghosts:
            assert all(oracle.stable([REWRITER.value(source).value for source, _ in pairs]))


def still_readable(oracle: Oracle, seed: int, batches: int) -> int:
    """Damages so many batches; how many of the values PHP could read before, all of which it must be able to read after."""
    maker, generator, readable = Maker(seed), random.Random(seed), 0
    for _ in range(batches):
        before = [damaged(source, generator) for source, _ in oracle.built([maker.value() for _ in range(BATCH)], ghosts=False)]
        after = [REWRITER.value(value).value for value in before]
        for value, rewritten, was, still in zip(before, after, oracle.readable(before), oracle.readable(after), strict=True):
            readable += was
            assert still or not was, f"{value!r}\n-> {rewritten!r}"
    return readable


@pytest.mark.parametrize(("depth", "batches"), [(2, 18), (5, 18), (8, 6)])
@pytest.mark.parametrize("ghosts", [False, True], ids=["known classes", "unknown classes"])
def test_thousands_of_random_values_become_what_php_would_have_written(
    oracle: Oracle, ghosts: bool, depth: int, batches: int
) -> None:
    compared(oracle, Maker(seed=20240229 + ghosts, depth=depth), batches, ghosts=ghosts)


def test_what_php_could_read_it_can_still_read_however_damaged_the_values_beside_it(oracle: Oracle) -> None:
    assert still_readable(oracle, seed=4, batches=12) > 500


def difference(source: bytes, ours: bytes, wanted: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, wanted, strict=False)) if a != b), min(len(ours), len(wanted)))
    around = slice(max(0, at - 200), at + 200)
    return f"at {at}\nours:   {ours[around]!r}\nPHP's:  {wanted[around]!r}\nsource: {source!r}"
