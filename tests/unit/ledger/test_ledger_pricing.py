"""What tokens cost."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger.pricing import cost_micro

TOKENS = st.integers(0, 10**7)
PRICE = st.integers(0, 10**9)


@given(TOKENS, TOKENS, PRICE, PRICE)
def test_a_cost_is_rounded_up_once_and_never_by_a_whole_micro_credit(
    prompt: int, completion: int, i: int, o: int
) -> None:
    cost = cost_micro(prompt, completion, i, o)
    exact = prompt * i + completion * o
    assert exact <= cost * 1_000_000 < exact + 1_000_000


@given(TOKENS, TOKENS, st.integers(0, 1000), st.integers(0, 1000), PRICE, PRICE)
def test_more_tokens_never_cost_less(prompt: int, completion: int, more: int, still: int, i: int, o: int) -> None:
    assert cost_micro(prompt + more, completion + still, i, o) >= cost_micro(prompt, completion, i, o)


def test_nothing_costs_nothing_and_one_token_at_any_price_costs_something() -> None:
    assert cost_micro(0, 0, 10**9, 10**9) == 0
    assert cost_micro(1, 0, 1, 0) == 1
