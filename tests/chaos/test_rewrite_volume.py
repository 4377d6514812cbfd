"""The rewriter against PHP, at volume: 100,000 random values, and as many damaged ones."""

import pytest

from tests.properties.test_rewrite_php import BATCH, compared, still_readable
from tests.support.php_oracle import php_oracle
from tests.support.php_random import PAIRS, Maker


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ghosts", [False, True], ids=["known classes", "unknown classes"])
def test_a_hundred_thousand_random_values_become_what_php_would_have_written(ghosts: bool) -> None:
    with php_oracle(PAIRS) as oracle:
        compared(oracle, Maker(seed=42 + ghosts), 100_000 // BATCH // 2, ghosts=ghosts)
        assert still_readable(oracle, seed=99 + ghosts, batches=100_000 // BATCH // 2) > 10_000
