"""The limits' arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger import gcra


def test_a_fresh_bucket_gives_one_minutes_allowance_at_once_and_no_more() -> None:
    state, allowed = 0.0, 0
    for _ in range(100):
        decision = gcra.decide(state, 1000.0, 60, 1)
        if decision.allowed:
            allowed += 1
            state = decision.arrival_s
    assert allowed == 60


def test_what_is_refused_fits_after_the_time_that_was_told() -> None:
    state = gcra.decide(0.0, 0.0, 60, 60).arrival_s
    refused = gcra.decide(state, 0.5, 60, 3)
    assert not refused.allowed
    assert gcra.decide(state, 0.5 + refused.retry_after_s, 60, 3).allowed
    assert not gcra.decide(state, 0.5 + refused.retry_after_s - 0.01, 60, 3).allowed


def test_a_request_larger_than_the_limit_waits_for_a_full_bucket() -> None:
    assert gcra.decide(0.0, 10.0, 100, 5000).allowed
    assert not gcra.decide(11.0, 10.0, 100, 5000).allowed


def test_a_correction_gives_back_what_was_not_used() -> None:
    state = gcra.decide(0.0, 0.0, 1000, 800).arrival_s
    assert gcra.decide(state, 0.0, 1000, 500).allowed is False
    state = gcra.corrected(state, 0.0, 1000, -700)
    assert gcra.decide(state, 0.0, 1000, 500).remaining == 400


@given(st.integers(1, 500), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), max_size=150))
def test_never_more_than_two_allowances_pass_in_any_minute(limit: int, steps: list[tuple[float, int]]) -> None:
    now, state = 5000.0, 0.0
    passed: list[tuple[float, int]] = []
    for gap, weight in steps:
        now += gap
        decision = gcra.decide(state, now, limit, weight)
        if decision.allowed:
            state = decision.arrival_s
            passed.append((now, min(weight, limit)))
    for start, _ in passed:
        assert sum(w for at, w in passed if start <= at < start + gcra.WINDOW_S) <= 2 * limit


def test_a_clock_that_was_reset_does_not_lock_a_caller_out() -> None:
    decision = gcra.decide(1e9, 10.0, 60, 1)
    assert decision.retry_after_s <= 2.0
