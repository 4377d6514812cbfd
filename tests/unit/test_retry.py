"""When a step is tried again."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from wpclone.core.jobs.retry import RetryPolicy

POLICY = RetryPolicy(attempts=4, base=timedelta(seconds=2), most=timedelta(seconds=60))


def test_the_last_allowed_failure_is_the_last() -> None:
    assert [POLICY.is_exhausted(n) for n in (1, 3, 4, 5)] == [False, False, True, True]


def test_pauses_double_up_to_the_most() -> None:
    pauses = [POLICY.pause(n, lambda: 1.0).total_seconds() for n in range(1, 8)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60]


def test_a_pause_is_never_shorter_than_what_the_step_asked_for() -> None:
    assert POLICY.pause(1, lambda: 0.5, asked=timedelta(seconds=30)) == timedelta(seconds=30)
    assert POLICY.pause(5, lambda: 1.0, asked=timedelta(seconds=3)) == timedelta(seconds=32)


@settings(deadline=None)
@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_pause_is_within_its_bounds(attempt: int, chance: float) -> None:
    assert timedelta(0) <= POLICY.pause(attempt, lambda: chance) <= POLICY.most
