"""How often somebody may fail to sign in."""

import pytest

from yunhe.control.throttle import FAILURES_MAX, NAMES_MAX, WINDOW_S, Throttle, TooManyAttempts
from yunhe.core.clock import ManualClock


def test_the_eleventh_failure_is_refused_until_the_first_is_old() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    for _ in range(FAILURES_MAX):
        throttle.attempt("ada")
        clock.advance(1.0)
    with pytest.raises(TooManyAttempts) as refused:
        throttle.attempt("ada")
    assert refused.value.retry_after_s == WINDOW_S - FAILURES_MAX
    clock.advance(WINDOW_S - FAILURES_MAX)
    throttle.attempt("ada")
    with pytest.raises(TooManyAttempts):
        throttle.attempt("ada")


def test_another_name_is_not_refused() -> None:
    throttle = Throttle(ManualClock())
    for _ in range(FAILURES_MAX):
        throttle.attempt("ada")
    throttle.attempt("grace")


def test_a_success_forgets_the_failures() -> None:
    throttle = Throttle(ManualClock())
    for _ in range(5):
        for _ in range(FAILURES_MAX):
            throttle.attempt("ada")
        throttle.succeeded("ada")


def test_its_memory_is_bounded() -> None:
    throttle = Throttle(ManualClock())
    for number in range(NAMES_MAX + 100):
        throttle.attempt(f"user{number}")
    assert len(throttle._failures) == NAMES_MAX
