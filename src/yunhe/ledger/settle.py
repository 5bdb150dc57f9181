"""From usage records to balanced entries: who pays what to whom.

Every entry has two postings: the project's account pays, the model's revenue account receives.
"""

from __future__ import annotations

from yunhe.ledger.account import project_account, revenue_account
from yunhe.ledger.model import Entry, Posting, Price
from yunhe.ledger.pricing import cost_micro
from yunhe.ledger.usage import UsageRecord

USAGE = "usage"


def cost_of(record: UsageRecord, price: Price | None) -> int:
    """What a record costs, micro-credits; nothing without a price."""
    if price is None:
        return 0
    return cost_micro(
        record.prompt_tokens, record.completion_tokens, price.input_micro_per_mtok, price.output_micro_per_mtok
    )


def usage_entry(entry_id: str, record: UsageRecord, cost: int, now: float) -> Entry | None:
    """The entry of a usage record; None when it costs nothing."""
    if cost == 0:
        return None
    postings = (
        Posting(project_account(record.project_id), -cost),
        Posting(revenue_account(record.model), cost),
    )
    return Entry(entry_id, USAGE, record.request_id, now, postings)
