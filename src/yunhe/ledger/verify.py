"""Recomputing the ledger from what it was made of: every posting from usage and prices, every balance from postings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from yunhe.ledger.account import project_account, revenue_account
from yunhe.ledger.model import Entry, Price
from yunhe.ledger.settle import USAGE, cost_of
from yunhe.ledger.usage import UsageRecord

PROBLEMS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not add up."""

    reference: str
    problem: str
    expected_micro: int | None
    found_micro: int | None


@dataclass(slots=True)
class Audit:
    """A running recomputation: feed it every usage record with its stored cost, every entry, then the balances."""

    prices: Mapping[str, Price]
    entries_checked: int = 0
    usage_checked: int = 0
    #: Of all postings; zero in a sound ledger.
    sum_micro: int = 0
    problems: list[Problem] = field(default_factory=list)
    #: request id -> (cost, payer, payee) that its entry must have.
    _expected: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    _balances: dict[str, int] = field(default_factory=dict)

    def usage(self, record: UsageRecord, stored_cost_micro: int) -> None:
        """Check a record's stored cost against its price, and expect its entry."""
        self.usage_checked += 1
        price = self.prices.get(record.price_id) if record.price_id is not None else None
        if record.price_id is not None and price is None:
            self._say(record.request_id, f"its price {record.price_id} does not exist", None, stored_cost_micro)
        cost = cost_of(record, price)
        if cost != stored_cost_micro:
            self._say(record.request_id, "the stored cost is not tokens times price", cost, stored_cost_micro)
        if cost > 0:
            payer, payee = project_account(record.project_id), revenue_account(record.model)
            self._expected[record.request_id] = (cost, payer, payee)

    def entry(self, entry: Entry) -> None:
        """Check that an entry balances and, for usage, that it is what its record says."""
        self.entries_checked += 1
        total = sum(posting.amount_micro for posting in entry.postings)
        self.sum_micro += total
        if total != 0:
            self._say(entry.reference, "the postings do not sum to zero", 0, total)
        for posting in entry.postings:
            self._balances[posting.account] = self._balances.get(posting.account, 0) + posting.amount_micro
        if entry.kind == USAGE:
            self._usage_entry(entry)

    def _usage_entry(self, entry: Entry) -> None:
        expected = self._expected.pop(entry.reference, None)
        found = sum(posting.amount_micro for posting in entry.postings if posting.amount_micro > 0)
        if expected is None:
            self._say(entry.reference, "an entry without a usage record, or a second one for it", 0, found)
            return
        cost, payer, payee = expected
        amounts = {posting.account: posting.amount_micro for posting in entry.postings}
        if amounts != {payer: -cost, payee: cost}:
            self._say(entry.reference, "the posting is not what the usage record says", cost, found)

    def finish(self, balances: Iterable[tuple[str, int]]) -> list[Problem]:
        """Check for missing entries and compare the stored balances; returns every problem found."""
        for reference, (cost, _payer, _payee) in self._expected.items():
            self._say(reference, "a usage record without its entry", cost, None)
        stored = dict(balances)
        for account in sorted(stored.keys() | self._balances.keys()):
            expected, found = self._balances.get(account, 0), stored.get(account, 0)
            if expected != found:
                self._say(account, "the stored balance is not the sum of its postings", expected, found)
        return self.problems

    def _say(self, reference: str, problem: str, expected: int | None, found: int | None) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(reference, problem, expected, found))
