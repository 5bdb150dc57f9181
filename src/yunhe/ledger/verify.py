"""Recomputing the ledger from what it was made of: every posting from usage and prices, every balance from postings.

Fed row by row, so that books of any size need constant memory but for two sums per account.
"""

from __future__ import annotations

from collections import defaultdict
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


@dataclass(frozen=True, slots=True)
class KeptBalance:
    """An account as the store keeps it: the sum of its postings, and of those that are not usage."""

    account: str
    amount_micro: int
    credited_micro: int


@dataclass(slots=True)
class Audit:
    """A running recomputation: feed it every usage record with its entry, every entry, then the balances."""

    prices: Mapping[str, Price]
    entries_checked: int = 0
    usage_checked: int = 0
    #: Of all postings; zero in a sound ledger.
    sum_micro: int = 0
    #: The first ``PROBLEMS_MAX`` of them.
    problems: list[Problem] = field(default_factory=list)
    _sums: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _credited: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def usage(self, record: UsageRecord, stored_cost_micro: int, entry: Entry | None) -> None:
        """Check a record's stored cost against its price, and the usage entry that refers to it, if any."""
        self.usage_checked += 1
        price = self.prices.get(record.price_id) if record.price_id is not None else None
        if record.price_id is not None and price is None:
            self._say(record.request_id, f"its price {record.price_id} does not exist", None, stored_cost_micro)
        cost = cost_of(record, price)
        if cost != stored_cost_micro:
            self._say(record.request_id, "the stored cost is not tokens times price", cost, stored_cost_micro)
        wanted = {project_account(record.project_id): -cost, revenue_account(record.model): cost} if cost else {}
        found = {posting.account: posting.amount_micro for posting in entry.postings} if entry else {}
        if entry is None and cost:
            self._say(record.request_id, "a usage record without its entry", cost, None)
        elif found != wanted:
            taken = sum(amount for amount in found.values() if amount > 0)
            self._say(record.request_id, "the posting is not what the usage record says", cost, taken)

    def entry(self, entry: Entry, *, has_usage: bool) -> None:
        """Check that an entry balances and, when it is one for usage, that the usage record exists."""
        self.entries_checked += 1
        total = sum(posting.amount_micro for posting in entry.postings)
        self.sum_micro += total
        if total != 0:
            self._say(entry.reference, "the postings do not sum to zero", 0, total)
        for posting in entry.postings:
            self._sums[posting.account] += posting.amount_micro
            if entry.kind != USAGE:
                self._credited[posting.account] += posting.amount_micro
        if entry.kind == USAGE and not has_usage:
            found = sum(posting.amount_micro for posting in entry.postings if posting.amount_micro > 0)
            self._say(entry.reference, "an entry without a usage record", 0, found)

    def finish(self, balances: Iterable[KeptBalance]) -> list[Problem]:
        """Compare the stored balances; returns every problem found."""
        kept = {balance.account: balance for balance in balances}
        for account in sorted(kept.keys() | self._sums.keys()):
            found = kept.get(account, KeptBalance(account, 0, 0))
            expected, credited = self._sums.get(account, 0), self._credited.get(account, 0)
            if expected != found.amount_micro:
                self._say(account, "the kept balance is not the sum of its postings", expected, found.amount_micro)
            if credited != found.credited_micro:
                self._say(account, "the kept credit is not the sum of its credits", credited, found.credited_micro)
        return self.problems

    def _say(self, reference: str, problem: str, expected: int | None, found: int | None) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(reference, problem, expected, found))
