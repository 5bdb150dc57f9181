"""The audit finds what is wrong, and nothing where all is right."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from yunhe.ledger.credit import credit_entry
from yunhe.ledger.model import Entry, Posting, Price
from yunhe.ledger.settle import USAGE, cost_of, usage_entry
from yunhe.ledger.usage import UsageRecord
from yunhe.ledger.verify import Audit, KeptBalance, Problem
from yunhe.testing.samples import usage_record

PRICE = Price("price_1", "m", 2_000_000, 6_000_000, 0.0)


def record(number: int, prompt: int, completion: int) -> UsageRecord:
    return usage_record(
        f"req_{number}",
        project_id=f"proj_{number % 3}",
        model="m",
        prompt_tokens=prompt,
        completion_tokens=completion,
        price_id="price_1",
    )


class Books:
    """Usage, entries and balances as a store keeps them."""

    def __init__(self, counts: list[tuple[int, int]]) -> None:
        self.records = [record(number, *tokens) for number, tokens in enumerate(counts)]
        self.costs = [cost_of(one, PRICE) for one in self.records]
        self.entries: list[Entry] = [credit_entry("entry_c", "proj_0", 1000, "ref", "", 1.0)]
        for number, (one, cost) in enumerate(zip(self.records, self.costs, strict=True)):
            entry = usage_entry(f"entry_{number}", one, cost, 200.0)
            if entry is not None:
                self.entries.append(entry)
        self.balances: dict[str, int] = {}
        for entry in self.entries:
            for posting in entry.postings:
                self.balances[posting.account] = self.balances.get(posting.account, 0) + posting.amount_micro
        self.credited = {"project:proj_0": 1000, "issued": -1000}

    def audit(self) -> tuple[Audit, list[Problem]]:
        audit = Audit({PRICE.id: PRICE})
        by_request = {entry.reference: entry for entry in self.entries if entry.kind == USAGE}
        known = {one.request_id for one in self.records}
        for one, cost in zip(self.records, self.costs, strict=True):
            audit.usage(one, cost, by_request.get(one.request_id))
        for entry in self.entries:
            audit.entry(entry, has_usage=entry.reference in known)
        kept = [KeptBalance(name, amount, self.credited.get(name, 0)) for name, amount in self.balances.items()]
        return audit, audit.finish(kept)


COUNTS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=20)


@given(COUNTS)
def test_sound_books_have_no_problem_and_sum_to_zero(counts: list[tuple[int, int]]) -> None:
    books = Books(counts)
    audit, problems = books.audit()
    assert problems == []
    assert audit.sum_micro == 0
    assert audit.usage_checked == len(counts)
    assert audit.entries_checked == len(books.entries)


def test_a_missing_entry_is_found() -> None:
    books = Books([(1, 1), (2, 2)])
    lost = books.entries.pop()
    for posting in lost.postings:
        books.balances[posting.account] -= posting.amount_micro
    _, problems = books.audit()
    assert [(p.reference, p.expected_micro) for p in problems] == [("req_1", 16)]


def test_a_changed_record_shows_in_its_cost_and_its_entry() -> None:
    books = Books([(1, 1)])
    books.records[0] = replace(books.records[0], completion_tokens=2)
    _, problems = books.audit()
    assert [p.reference for p in problems] == ["req_0", "req_0"]
    assert {(p.expected_micro, p.found_micro) for p in problems} == {(14, 8)}


def test_an_entry_to_another_account_is_found() -> None:
    books = Books([(1, 1)])
    entry = books.entries[1]
    books.entries[1] = replace(entry, postings=(Posting("project:thief", -8), entry.postings[1]))
    _, problems = books.audit()
    assert "req_0" in [p.reference for p in problems]


def test_an_entry_without_its_usage_record_is_found() -> None:
    books = Books([(1, 1)])
    del books.records[0], books.costs[0]
    _, problems = books.audit()
    assert [p.reference for p in problems] == ["req_0"]


def test_a_balance_that_was_tampered_with_is_found() -> None:
    books = Books([(1, 1)])
    books.balances["project:proj_0"] += 5
    _, problems = books.audit()
    assert [(p.reference, p.expected_micro, p.found_micro) for p in problems] == [("project:proj_0", 992, 997)]


def test_a_kept_credit_that_was_tampered_with_is_found() -> None:
    books = Books([(1, 1)])
    books.credited["project:proj_0"] = 2000
    _, problems = books.audit()
    assert [(p.reference, p.expected_micro, p.found_micro) for p in problems] == [("project:proj_0", 1000, 2000)]


def test_a_record_that_names_an_unknown_price_is_found() -> None:
    books = Books([])
    books.records.append(replace(record(7, 1, 1), price_id="price_gone"))
    books.costs.append(0)
    _, problems = books.audit()
    assert len(problems) == 1
    assert "price_gone" in problems[0].problem
