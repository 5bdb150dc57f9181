"""The limits' arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger import gcra


def fits(state: float, now: float, limit: int, weight: int) -> bool:
    return gcra.excess_s(gcra.advance(state, now, limit, weight), now) <= 0


def test_a_fresh_bucket_gives_one_minutes_allowance_at_once_and_no_more() -> None:
    state, allowed = 0.0, 0
    for _ in range(100):
        if fits(state, 1000.0, 60, 1):
            allowed += 1
            state = gcra.advance(state, 1000.0, 60, 1)
    assert allowed == 60
    assert gcra.remaining(state, 1000.0, 60) == 0
    assert gcra.remaining(state, 1030.0, 60) == 30
    assert gcra.remaining(state, 2000.0, 60) == 60


def test_what_is_refused_fits_after_the_time_that_was_told() -> None:
    state = gcra.advance(0.0, 0.0, 60, 60)
    wait_s = gcra.excess_s(gcra.advance(state, 0.5, 60, 3), 0.5)
    assert wait_s > 0
    assert fits(state, 0.5 + wait_s + 1e-9, 60, 3)
    assert not fits(state, 0.5 + wait_s - 0.01, 60, 3)


def test_a_request_larger_than_the_limit_waits_for_a_full_bucket() -> None:
    assert fits(0.0, 10.0, 100, 5000)
    assert not fits(11.0, 10.0, 100, 5000)


def test_a_correction_gives_back_what_was_not_used() -> None:
    state = gcra.advance(0.0, 0.0, 1000, 800)
    assert not fits(state, 0.0, 1000, 500)
    state = gcra.corrected(state, 0.0, 1000, -700)
    assert gcra.remaining(state, 0.0, 1000) == 900


@given(st.integers(1, 500), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), max_size=150))
def test_never_more_than_two_allowances_pass_in_any_minute(limit: int, steps: list[tuple[float, int]]) -> None:
    now, state = 5000.0, 0.0
    passed: list[tuple[float, int]] = []
    for gap, weight in steps:
        now += gap
        if fits(state, now, limit, weight):
            state = gcra.advance(state, now, limit, weight)
            passed.append((now, min(weight, limit)))
    for start, _ in passed:
        assert sum(w for at, w in passed if start <= at < start + gcra.WINDOW_S) <= 2 * limit


def test_a_clock_that_was_reset_does_not_lock_a_caller_out() -> None:
    assert gcra.excess_s(gcra.advance(1e9, 10.0, 60, 1), 10.0) <= 2.0
