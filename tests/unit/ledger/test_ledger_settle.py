"""From usage records to balanced entries."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger.account import project_account, project_of, revenue_account
from yunhe.ledger.credit import AMOUNT_MICRO_MAX, correction_of, credit_entry
from yunhe.ledger.model import Price
from yunhe.ledger.settle import TOKENS_MAX, bounded, cost_of, usage_entry
from yunhe.testing.samples import usage_record

RECORD = usage_record(project_id="proj_1", model="m")
TOKENS = st.integers(0, 10**6)
PRICE = st.integers(0, 10**9)


@given(TOKENS, TOKENS, PRICE, PRICE)
def test_a_usage_entry_balances_and_takes_the_cost_from_the_project(
    prompt: int, completion: int, i: int, o: int
) -> None:
    record = replace(RECORD, prompt_tokens=prompt, completion_tokens=completion)
    cost = cost_of(record, Price("price_1", "m", i, o, 0.0))
    entry = usage_entry("entry_1", record, cost, 200.0)
    if cost == 0:
        assert entry is None
        return
    assert entry is not None
    assert sum(posting.amount_micro for posting in entry.postings) == 0
    amounts = {posting.account: posting.amount_micro for posting in entry.postings}
    assert amounts == {project_account("proj_1"): -cost, revenue_account("m"): cost}
    assert entry.reference == "req_1"


def test_a_record_without_a_price_costs_nothing() -> None:
    assert cost_of(RECORD, None) == 0


@given(st.integers(), st.integers(), st.integers())
def test_impossible_counts_become_possible_and_possible_ones_stay(prompt: int, cached: int, completion: int) -> None:
    record = replace(RECORD, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)
    made = bounded(record)
    assert 0 <= made.cached_tokens <= made.prompt_tokens <= TOKENS_MAX
    assert 0 <= made.completion_tokens <= TOKENS_MAX
    assert bounded(made) is made


@given(st.integers(-AMOUNT_MICRO_MAX, AMOUNT_MICRO_MAX).filter(bool))
def test_credit_and_its_correction_balance_and_cancel(amount: int) -> None:
    entry = credit_entry("entry_1", "proj_1", amount, "ref", "memo", 1.0)
    back = correction_of(entry, "entry_2", "typed wrong", 2.0)
    for one in (entry, back):
        assert sum(posting.amount_micro for posting in one.postings) == 0
    sums: dict[str, int] = {}
    for posting in (*entry.postings, *back.postings):
        sums[posting.account] = sums.get(posting.account, 0) + posting.amount_micro
    assert set(sums.values()) == {0}
    assert entry.postings[0].account == project_account("proj_1")
    assert entry.postings[0].amount_micro == amount


def test_only_a_projects_account_names_a_project() -> None:
    assert project_of(project_account("proj_1")) == "proj_1"
    assert project_of(revenue_account("project:x")) is None
