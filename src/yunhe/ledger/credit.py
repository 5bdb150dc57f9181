"""Entries that people make: credit given to a project, or taken back, and corrections of earlier entries."""

from __future__ import annotations

from yunhe.core.errors import InvalidRequest
from yunhe.ledger.account import ISSUED, project_account
from yunhe.ledger.model import Entry, Posting

CREDIT = "credit"
CORRECTION = "correction"
#: Far beyond any real amount and far below what a 64-bit sum of many can hold.
AMOUNT_MICRO_MAX = 10**15


def credit_entry(entry_id: str, project_id: str, amount_micro: int, reference: str, memo: str, now: float) -> Entry:
    """Give a project credit, or take it (negative). Raises InvalidRequest for 0 or an absurd amount."""
    if amount_micro == 0 or abs(amount_micro) > AMOUNT_MICRO_MAX:
        rule = f"must not be 0 and at most {AMOUNT_MICRO_MAX} in size"
        raise InvalidRequest(f"the amount {rule}", fields=[f"body.amount_micro: {rule}"])
    postings = (Posting(project_account(project_id), amount_micro), Posting(ISSUED, -amount_micro))
    return Entry(entry_id, CREDIT, reference, now, postings, memo)


def correction_of(entry: Entry, entry_id: str, memo: str, now: float) -> Entry:
    """The entry that takes another one back: same accounts, opposite amounts. One correction per entry."""
    postings = tuple(Posting(posting.account, -posting.amount_micro) for posting in entry.postings)
    return Entry(entry_id, CORRECTION, entry.id, now, postings, memo)
