"""How much credit a worker may hold."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger.lease import decide, is_worth_telling

AMOUNT = st.integers(0, 10**12)


@given(AMOUNT, AMOUNT, st.integers(-(10**9), 10**12))
def test_a_grant_is_never_more_than_available_or_wanted_and_never_negative(
    want: int, need: int, available: int
) -> None:
    verdict = decide(want, need, available)
    assert 0 <= verdict.granted_micro <= max(0, available)
    assert verdict.granted_micro <= max(want, need, 1)
    assert (verdict.granted_micro == 0) == (verdict.refused_reason is not None) or max(want, need) == 0


@given(AMOUNT, st.integers(1, 10**12), AMOUNT)
def test_what_a_waiting_request_needs_is_granted_whole_or_refused(want: int, need: int, available: int) -> None:
    verdict = decide(want, need, available)
    assert verdict.granted_micro >= need if need <= available else verdict.granted_micro == 0


@given(st.lists(st.tuples(AMOUNT, AMOUNT), max_size=40), AMOUNT)
def test_any_number_of_asks_together_get_no_more_than_the_balance(asks: list[tuple[int, int]], balance: int) -> None:
    leased = 0
    for want, need in asks:
        leased += decide(want, need, balance - leased).granted_micro
    assert leased <= balance


@given(st.integers(8, 10**12))
def test_a_greedy_worker_leaves_something_to_the_next(balance: int) -> None:
    first = decide(10**15, 0, balance)
    if balance > 4000:
        assert decide(10**15, 0, balance - first.granted_micro).granted_micro > 0


def test_a_refusal_says_why() -> None:
    assert "no credit" in (decide(5, 5, 0).refused_reason or "")
    reason = decide(5_000_000, 5_000_000, 1_500_000).refused_reason or ""
    assert "up to 5 credits" in reason
    assert "has 1.5" in reason


@given(st.integers(-(10**12), 10**12))
def test_the_beginning_and_the_end_of_credit_are_always_told(amount: int) -> None:
    assert is_worth_telling(amount, 0) == (amount > 0 or abs(amount) >= 1_000_000)
    assert is_worth_telling(0, amount) == (amount > 0 or abs(amount) >= 1_000_000)


def test_small_changes_of_much_credit_are_not_told() -> None:
    assert not is_worth_telling(100_000_000, 99_500_000)
    assert not is_worth_telling(100_000_000, 90_000_001)
    assert is_worth_telling(100_000_000, 90_000_000)
