"""What tokens cost, and which price applies."""

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger.model import Price
from yunhe.ledger.pricing import cost_micro, price_in_force

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


def test_the_last_price_to_take_effect_is_in_force() -> None:
    old = Price("price_1", "m", 1, 1, effective_from=10.0)
    new = Price("price_2", "m", 2, 2, effective_from=20.0)
    other = Price("price_3", "other", 3, 3, effective_from=15.0)
    prices = [new, other, old]
    assert price_in_force(prices, "m", 9.9) is None
    assert price_in_force(prices, "m", 10.0) is old
    assert price_in_force(prices, "m", 19.9) is old
    assert price_in_force(prices, "m", 20.0) is new


def test_of_two_prices_from_one_moment_the_one_made_last_is_in_force() -> None:
    first = Price("price_1", "m", 1, 1, effective_from=10.0)
    second = Price("price_2", "m", 2, 2, effective_from=10.0)
    assert price_in_force([second, first], "m", 10.0) is second
