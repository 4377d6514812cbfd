from hypothesis import given
from hypothesis import strategies as st

from workers.progress import scale


def test_progress_is_the_weighted_share_and_one_hundred_is_kept_for_completion() -> None:
    weighted = scale([1, 3])
    assert [weighted.at(0, 0), weighted.at(0, 1), weighted.at(1, 0.5), weighted.at(1, 1)] == [0, 25, 62, 99]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=9), st.lists(st.floats(-1, 2), min_size=1, max_size=9))
def test_progress_never_falls_from_step_to_step(weights: list[float], fractions: list[float]) -> None:
    weighted = scale(weights)
    points = [weighted.at(i, f) for i in range(len(weights)) for f in sorted(fractions)]
    assert points == sorted(points)
    assert all(0 <= point <= 99 for point in points)
