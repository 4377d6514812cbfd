"""The rewriter at volume: 100,000 random values judged by PHP, as many damaged ones, and ten minutes of anything at all."""

import random
import time

import pytest

from tests.properties.test_rewrite_bytes import FINDER, PIECES, REWRITER
from tests.properties.test_rewrite_php import BATCH, compared, still_readable
from tests.support.chaos_table import note
from tests.support.history import Findings
from tests.support.php_oracle import php_oracle
from tests.support.php_random import PAIRS, Maker
from wpclone.wordpress.rewrite.engine import edits_of
from wpclone.wordpress.rewrite.formats import format_of

FUZZ_SECONDS = 600
HALF = 50_000
"""Values of each kind, of a hundred thousand; as many damaged ones."""
SLOWEST = 2.0
"""Seconds of the processor for one value of some kilobytes; usual are fractions of a millisecond."""


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ghosts", [False, True], ids=["known classes", "unknown classes"])
def test_a_hundred_thousand_random_values_become_what_php_would_have_written(ghosts: bool) -> None:
    with php_oracle(PAIRS) as oracle:
        compared(oracle, Maker(seed=42 + ghosts), HALF // BATCH, ghosts=ghosts)
        readable = still_readable(oracle, seed=99 + ghosts, batches=HALF // BATCH)
    assert readable > 10_000
    classes = "classes unknown to it" if ghosts else "classes known to it"
    note(f"The rewriter, random values as PHP itself writes and reads them, {classes}", Findings(HALF + readable))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_nothing_makes_the_rewriter_crash_hang_or_change_a_byte_outside_a_match() -> None:
    """Heaps of pieces that begin, end and nest values, and earlier heaps damaged, cut and put into each other."""
    chance, kept, wrong, values = random.Random(7), [b"".join(PIECES)], list[str](), 0
    ends = time.monotonic() + FUZZ_SECONDS
    while time.monotonic() < ends and len(wrong) < 20:
        raw = _damaged(chance, chance.choice(kept)) if chance.random() < 0.7 else _heap(chance)
        began = time.process_time()
        try:
            fault = _fault(raw)
        except Exception as error:
            fault = repr(error)
        took = time.process_time() - began
        if fault or took > SLOWEST:
            wrong.append(f"I3 {fault or f'{took:.1f} s'}: {raw!r}")
        values += 1
        if chance.random() < 0.05:
            kept = [*kept[-200:], raw[:20_000]]
    note("The rewriter, ten minutes of hostile values", Findings(values, violations=wrong))


def _heap(chance: random.Random) -> bytes:
    return b"".join(
        chance.choice(PIECES) if chance.random() < 0.8 else chance.randbytes(chance.randrange(8))
        for _ in range(chance.randrange(60))
    )


def _damaged(chance: random.Random, value: bytes) -> bytes:
    held = bytearray(value)
    for _ in range(chance.randrange(1, 6)):
        at, to = sorted(chance.randrange(len(held) + 1) for _ in range(2))
        what = chance.randrange(5)
        if what == 0:
            del held[at : min(to, at + 50)]
        elif what == 1:
            held[at:at] = chance.choice(PIECES)
        elif what == 2:
            held[at:at] = chance.randbytes(3)
        elif what == 3:
            held[at:at] = held[at:to][:2000]
        else:
            part = bytes(held[at:to])
            held[at:to] = b's:%d:"%s";' % (len(part), part)
    return bytes(held[:30_000])


def _fault(raw: bytes) -> str:
    """What is wrong with rewriting these bytes; empty if nothing."""
    result = REWRITER.value(raw)
    edits, _ = edits_of(FINDER, raw)
    rest, at = bytearray(), 0
    for edit in edits:
        region = raw[edit.start : edit.end].lower()
        if not at <= edit.start < edit.end <= len(raw):
            return "edits overlap"
        if not ((b"example.com" in region or b"site" in region) if edit.counts else region.isdigit() and edit.new.isdigit()):
            return f"changed outside of a match: {region!r}"
        rest += raw[at : edit.start] + edit.new
        at = edit.end
    if result.value != bytes(rest) + raw[at:]:
        return "changed what is no edit"
    if (result.value is raw) != (not edits):
        return "an equal copy of an unchanged value"
    return "" if format_of(result.value) is format_of(raw) else "readable before, and not after"
